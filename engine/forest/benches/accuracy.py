"""scikit-learn's accuracy on the ten tables, as CSV: table, then mean and sd of each measure.

Run by compare.py; needs numpy and scikit-learn. Argument: the folder of the tables.
"""

import csv
import gzip
import sys
from pathlib import Path

import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

TABLES = "smtp shuttle mammography annthyroid thyroid pima cardio pendigits arrhythmia letter".split()
SEEDS = 10

folder = Path(sys.argv[1])
out = csv.writer(sys.stdout)
out.writerow("table auc auc_sd ap ap_sd tpr1 tpr1_sd".split())
for name in TABLES:
    with gzip.open(folder / f"{name}.csv.gz", "rt") as file:
        table = np.loadtxt(file, delimiter=",", skiprows=1)
    x, y = table[:, :-1], table[:, -1]
    rows = []
    for seed in range(SEEDS):
        # Seeds far apart; sub-samples without replacement, the default.
        forest = IsolationForest(n_estimators=100, max_samples=256, random_state=7919 * seed + 13)
        scores = -forest.fit(x).score_samples(x)
        fpr, tpr, _ = roc_curve(y, scores, drop_intermediate=False)
        rows.append(
            (roc_auc_score(y, scores), average_precision_score(y, scores), tpr[fpr <= 0.01].max())
        )
    rows = np.array(rows)
    pairs = zip(rows.mean(axis=0), rows.std(axis=0, ddof=1))
    out.writerow([name, *(f"{number:.5f}" for pair in pairs for number in pair)])
