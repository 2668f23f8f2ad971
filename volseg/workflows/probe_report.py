"""The page of a probe: pictures first, then the tables."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from volseg.evaluation.probing.comparison import Answer, EncoderComparison
from volseg.evaluation.probing.samples import Sample
from volseg.workflows import probe_pictures
from volseg.workflows.page import Section, Table, write_page

MAIN = ("linear balanced accuracy", "linear AUC", "nearest balanced accuracy", "mAP")
GRADED = ("linear balanced accuracy", "linear quadratic kappa", "linear AUC", "mAP")


def main_scores(comparison: EncoderComparison) -> Sequence[str]:
    """Name the scores that come first.

    Args:
        comparison: What was found.

    Returns:
        Their names.
    """
    return GRADED if comparison.question.is_graded else MAIN


def main_table(comparison: EncoderComparison) -> Table:
    """Lay out the main scores, one row an encoder.

    Args:
        comparison: What was found.

    Returns:
        Scores with intervals, the gain of training, dimensions, and cost.
    """
    keys = main_scores(comparison)
    rows = []
    for answer in comparison.answers:
        gain = answer.gains.get(keys[0])
        rows.append(
            [
                answer.name,
                *(answer.scores[key].text() for key in keys),
                "-" if gain is None else gain.text(signed=True),
                f"{answer.effective_rank:.1f}",
                f"{answer.features.seconds:.1f}",
                f"{answer.features.memory_mib:.0f}",
            ]
        )
    heads = [*keys, f"{keys[0]}: gain over untrained", "effective rank", "seconds", "peak MiB"]
    return Table(["encoder", *heads], rows)


def write_report(
    path: Path, comparison: EncoderComparison, samples: Sequence[Sample], notes: Sequence[str]
) -> None:
    """Write the page.

    Args:
        path: The HTML file.
        comparison: What was found.
        samples: What was described.
        notes: What the reader must know.
    """
    question = comparison.question
    labels = list(question.labels)
    counts = [f"{labels.count(name)} {name}" for name in comparison.classes]
    lead = (
        f"{len(question.labels)} samples of {len(set(question.groups))} groups"
        f" ({', '.join(counts)}); chance is a balanced accuracy of"
        f" {1 / len(comparison.classes):.2f} and an AUC of 0.5. Intervals hold 95 % of the draws of"
        " a bootstrap over groups."
    )
    sections = _score_sections(comparison, notes)
    sections.append(_retrieval_section(comparison, samples))
    sections += [
        Section(
            "Which encoders agree",
            "Linear CKA without bias: 1 means equal but for rotation and scale, 0 unrelated.",
            probe_pictures.draw_alignment(comparison.alignment),
            "CKA of each pair of encoders on the same samples.",
        ),
        Section(
            "Confusion",
            "",
            probe_pictures.draw_confusion(comparison),
            "The linear probe: rows are true, columns predicted, mean over the repeats.",
        ),
        Section("What training cost", table=cost_table(comparison.answers)),
    ]
    write_page(path, "volseg probe", lead, sections)


def _score_sections(comparison: EncoderComparison, notes: Sequence[str]) -> list[Section]:
    return [
        Section(
            "Scores",
            " ".join(f"{note}." for note in notes),
            probe_pictures.draw_scores(comparison, main_scores(comparison)),
            "Each score with its interval; the dotted line is chance.",
            main_table(comparison),
        ),
        Section(
            "Features",
            "",
            probe_pictures.draw_points(comparison),
            "The first two principal components; the second row is UMAP, if umap-learn is there.",
            clusters_table(comparison),
        ),
    ]


def _retrieval_section(comparison: EncoderComparison, samples: Sequence[Sample]) -> Section:
    table = retrieval_table(comparison)
    found = probe_pictures.draw_retrieval(comparison, samples)
    if found is None:
        return Section("Retrieval", table=table)
    text = f"By {comparison.answers[0].name}: the query on the left, then the most similar."
    caption = "Middle axial slices; green: same label, red: another."
    return Section("Retrieval", text, found, caption, table)


def clusters_table(comparison: EncoderComparison) -> Table:
    """Lay out the scores of clusters.

    Args:
        comparison: What was found.

    Returns:
        One row an encoder.
    """
    keys = list(comparison.answers[0].clusters)
    rows = [
        [answer.name, *(f"{answer.clusters[key]:.3g}" for key in keys)]
        for answer in comparison.answers
    ]
    return Table(["encoder", *(key.replace("_", " ") for key in keys)], rows)


def retrieval_table(comparison: EncoderComparison) -> Table:
    """Lay out the scores of retrieval.

    Args:
        comparison: What was found.

    Returns:
        One row an encoder.
    """
    keys = [key for key in comparison.answers[0].scores if key == "mAP" or "@" in key]
    rows = [[each.name, *(each.scores[key].text() for key in keys)] for each in comparison.answers]
    return Table(["encoder", *keys], rows)


def cost_table(answers: Sequence[Answer]) -> Table:
    """Lay out what is known of the training of each encoder.

    Args:
        answers: The encoders.

    Returns:
        One row an encoder.
    """
    keys = {
        "pretext": "pretext",
        "steps": "steps",
        "seconds_per_step": "seconds a step",
        "steps_to_plateau": "steps to plateau",
        "seconds_to_plateau": "seconds to plateau",
        "training_memory_mib": "peak memory, MiB",
        "seen": "cases seen",
    }
    rows = [[each.name, *(_text(each.facts.get(key)) for key in keys)] for each in answers]
    return Table(["encoder", *keys.values()], rows)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {number:g}" for key, number in value.items())
    return "-" if value is None else str(value)
