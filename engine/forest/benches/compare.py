#!/usr/bin/env python3
"""This crate beside scikit-learn, isotree and coniferest: one run, one table, ratios first.

    python3 engine/forest/benches/compare.py            speed and size
    python3 engine/forest/benches/compare.py accuracy FOLDER > engine/forest/benches/sklearn_accuracy.csv

Makes a throw-away virtual environment, installs the libraries from PyPI, measures all of them and
this crate (`examples/speed.rs`) on the same 100,000 x 10 normal rows, 100 trees x 256, one thread,
in alternating rounds, and removes the environment. Takes the best of the rounds for each figure.
A single row is one library call with one row. Needs python3 with venv, and cargo.
"""

import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

# isotree imports pandas without asking for it.
LIBRARIES = ["numpy", "pandas", "scikit-learn", "isotree", "coniferest"]
ROUNDS = 3
HERE = Path(__file__).resolve().parent
WORKSPACE = HERE.parents[2]
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}

# Runs inside the environment: prints one JSON object for the library named.
PEER = r'''
import json, pickle, sys, time
import numpy as np

name, path = sys.argv[1:]
x = np.fromfile(path).reshape(100_000, 10)

if name == "scikit-learn":
    import sklearn
    from sklearn.ensemble import IsolationForest
    version = sklearn.__version__
    make = lambda: IsolationForest(n_estimators=100, max_samples=256, random_state=7, n_jobs=1)
    fit = lambda model: model.fit(x)
    score = lambda model, rows: model.score_samples(rows)
elif name.startswith("isotree"):
    import isotree
    from importlib.metadata import version as version_of
    version = version_of("isotree")
    ndim = 2 if name.endswith("EIF") else 1
    make = lambda: isotree.IsolationForest(
        ntrees=100, sample_size=256, ndim=ndim, max_depth=8, nthreads=1, random_seed=7,
        missing_action="fail" if ndim > 1 else "divide")
    fit = lambda model: model.fit(x)
    score = lambda model, rows: model.predict(rows)
else:
    from coniferest.isoforest import IsolationForest
    from importlib.metadata import version as version_of
    version = version_of("coniferest")
    make = lambda: IsolationForest(n_trees=100, n_subsamples=256, n_jobs=1, random_seed=7)
    fit = lambda model: model.fit(x)
    score = lambda model, rows: model.score_samples(rows)

def best(work, rounds):
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)

model = make()
fit(model)
out = {"name": name, "version": version}
out["fit_ms"] = 1e3 * best(lambda: fit(make()), 5)
out["batch_rows_per_s"] = len(x) / best(lambda: score(model, x), 3)
rows = [np.ascontiguousarray(x[i : i + 1]) for i in range(2000)]
calls = 400 if name == "scikit-learn" else 2000
for row in rows[:50]:
    score(model, row)
times = []
for row in rows[:calls]:
    start = time.perf_counter_ns()
    score(model, row)
    times.append(time.perf_counter_ns() - start)
out["row_p50_us"], out["row_p99_us"] = (float(np.percentile(times, p)) / 1e3 for p in (50, 99))
saved = pickle.dumps(model)
out["file_kib"] = len(saved) / 1024
out["load_us"] = 1e6 * best(lambda: pickle.loads(saved), 20)
print(json.dumps(out))
'''

# Figure, heading, unit, and whether more is better.
FIGURES = [
    ("row_p50_us", "single row p50", "us", False),
    ("row_p99_us", "single row p99", "us", False),
    ("batch_rows_per_s", "batch", "rows/s", True),
    ("fit_ms", "fit", "ms", False),
    ("load_us", "load", "us", False),
    ("file_kib", "saved", "KiB", False),
]


def run(command, **options):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, **options).stdout


def better(figure, old, new):
    more = figure == "batch_rows_per_s"
    return new if old is None else (max if more else min)(old, new)


def keep_best(table, name, figures):
    row = table.setdefault(name, {})
    for figure, value in figures.items():
        row[figure] = better(figure, row.get(figure), value)


def speed(python, folder):
    import random

    # The same rows for all: made by the library's numpy, which the caller may not have.
    rows = folder / "rows.f64"
    run([python, "-c", "import numpy as np, sys;"
         "np.random.default_rng(1).standard_normal((100_000, 10)).tofile(sys.argv[1])", rows])
    peer = folder / "peer.py"
    peer.write_text(PEER)
    cargo = ["cargo", "run", "--release", "--quiet", "-p", "forest", "--example", "speed", "--", rows]
    run([*cargo[:1], "build", *cargo[2:-2]], cwd=WORKSPACE)
    table, versions = {}, {}
    names = ["scikit-learn", "isotree", "isotree EIF", "coniferest"]
    for _ in range(ROUNDS):
        lines = run(cargo, cwd=WORKSPACE).split()
        ours = {name: float(value) for name, value in (line.split(",") for line in lines)}
        for prefix, name in [("f64", "forest"), ("f32", "forest f32"), ("extended", "forest extended")]:
            keep_best(table, name, {figure: ours[f"{prefix}_{figure}"] for figure, *_ in FIGURES})
        random.shuffle(names)
        for name in names:
            theirs = json.loads(run([python, peer, name, rows], env=os.environ | ONE_THREAD))
            versions[name] = theirs.pop("version")
            keep_best(table, theirs.pop("name"), theirs)
    show(table, versions, ours)


def show(table, versions, ours):
    def line(cells):
        print("| " + " | ".join(cells) + " |")

    heads = [f"{head}" for _, head, *_ in FIGURES]
    print("How many times better `forest` (f64) is; above 1 is better.\n")
    line(["against", *heads])
    line(["---"] * (len(heads) + 1))
    order = ["coniferest", "isotree", "scikit-learn", "isotree EIF"]
    for name in order:
        base = table["forest extended" if name.endswith("EIF") else "forest"]
        cells = []
        for figure, _, _, more in FIGURES:
            ratio = table[name][figure] / base[figure]
            cells.append(f"{1 / ratio if more else ratio:,.1f}x")
        line([f"{name} {versions[name]}", *cells])
    print("\nThe figures.\n")
    line(["library", *(f"{head}, {unit}" for _, head, unit, _ in FIGURES)])
    line(["---"] * (len(heads) + 1))
    for name in ["forest", "forest f32", "forest extended", *order]:
        line([name, *(f"{table[name][figure]:,.{0 if table[name][figure] > 1000 else 2}f}"
                      for figure, *_ in FIGURES)])
    print(f"\nIn memory: forest {ours['f64_memory_kib']:.0f} KiB, f32 {ours['f32_memory_kib']:.0f} KiB.")
    for trees in (100, 300):
        print(f"Score and explanation of one row of 32 features, {trees} trees: "
              f"p50 {ours[f'32x{trees}_explain_p50_us']:.2f} us, "
              f"p99 {ours[f'32x{trees}_explain_p99_us']:.2f} us.")
    print(f"Reading the clock, {ours['timer_us']:.3f} us, is included in p50 and p99.")


def main():
    with tempfile.TemporaryDirectory(prefix="forest-compare-") as folder:
        folder = Path(folder)
        venv.create(folder / "venv", with_pip=True)
        python = folder / "venv" / "bin" / "python"
        print("installing " + ", ".join(LIBRARIES), file=sys.stderr)
        run([python, "-m", "pip", "install", "--quiet", *LIBRARIES])
        if sys.argv[1:2] == ["accuracy"]:
            sys.stdout.write(run([python, HERE / "accuracy.py", sys.argv[2]]))
        else:
            speed(python, folder)


main()
