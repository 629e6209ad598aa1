//! A report for people, as Markdown.

use std::fmt::Write as _;

use super::Report;

impl Report {
    /// The report as a table for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(
            text,
            "{} decisions on {} subjects, {} to {}.\n\n\
             Figures are shares with their 95 % interval over subjects.\n\n\
             ### Attacks, the ones that fare worst first\n\n\
             | attack | requests | stopped | denied | caught | caught early | requests, seconds before | at 1 % of the honest | at 0.1 % | AUC | AP | left |\n\
             |---|---|---|---|---|---|---|---|---|---|---|---|",
            self.decisions, self.subjects, self.from, self.to,
        );
        for attack in &self.scenarios {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} of {} | {} | {:.0}, {:.0} | {} | {} | {:.3} | {:.3} | {:.1} % |",
                attack.name.trim_start_matches("attack."),
                attack.stopped.count,
                attack.stopped.percent(),
                attack.denied.percent(),
                attack.caught.percent(),
                attack.caught.count,
                attack.caught_early.percent(),
                attack.requests_before,
                attack.seconds_before,
                attack.at_one_percent.percent(),
                attack.at_one_permille.percent(),
                attack.auc.value,
                attack.average_precision.value,
                attack.residual.value * 100.0,
            );
        }
        text.push_str(
            "\n*Stopped*: not answered `allow` by the policies in force. *Caught*: attacks of which a request was stopped; *early*: at the first, or within a twentieth of the requests. *Left*: what is expected to get through when a challenge stops 76 % and a second factor 90 % (Doerfler et al. 2019).\n\n\
             ### Honest people\n\n| who | decisions | asked or denied | more than a challenge | denied |\n|---|---|---|---|---|\n",
        );
        let rows = std::iter::once(&self.settled)
            .chain(&self.by_subject)
            .chain(&self.honest)
            .chain(&self.by_history)
            .chain(std::iter::once(&self.cold));
        for honest in rows.filter(|honest| honest.bothered.count > 0) {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} |",
                honest.name,
                honest.bothered.count,
                honest.bothered.percent(),
                honest.more_than_challenge.percent(),
                honest.denied.percent(),
            );
        }
        let _ = writeln!(
            text,
            "\n{:.2} step-ups for each subject and week.\n\n\
             ### Against simple rules, on the same events\n\n\
             Mean over the kinds of attack of what is found where one settled honest event in a hundred is.\n\n\
             | | found | AUC |\n|---|---|---|",
            self.step_ups_per_week
        );
        for rival in &self.rivals {
            let _ = writeln!(
                text,
                "| {} | {} | {:.3} |",
                rival.name,
                rival.at_one_percent.percent(),
                rival.auc.value
            );
        }
        text.push_str(
            "\n### What the model's points promise of honest events\n\n| points | promised at most | seen |\n|---|---|---|\n",
        );
        for (points, promised, seen) in &self.budget {
            let _ = writeln!(
                text,
                "| {points} | {:.2} % | {} |",
                promised * 100.0,
                seen.percent()
            );
        }
        let _ = writeln!(
            text,
            "\nBrier score of the whole score over 100: {:.4}.\n\n\
             ### What each feature is worth\n\n\
             The score alone, without policies, finds {:.1} % of the attacks at one honest event in a hundred (mean over kinds); without a feature, so much less, in points of per cent:\n",
            self.brier,
            self.score_alone * 100.0
        );
        for worth in &self.features {
            let _ = writeln!(text, "- `{}` {:+.2}", worth.feature, worth.worth * 100.0);
        }
        if !self.mistakes.is_empty() {
            text.push_str("\n### What it got wrong, for example\n\n");
        }
        for mistake in &self.mistakes {
            let _ = writeln!(
                text,
                "- {} got {} ({} alike): {} {} {} {}, score {}",
                mistake.kind,
                mistake.rung,
                mistake.alike,
                mistake.time,
                mistake.subject,
                mistake.action,
                mistake.resource,
                mistake.score
            );
            for reason in &mistake.reasons {
                let _ = writeln!(text, "  - {reason}");
            }
        }
        text
    }
}
