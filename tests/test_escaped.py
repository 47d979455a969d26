"""Text of others in Markdown, LaTeX, messages and figures: nothing in it is obeyed."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import escaped, findings
from analysis.drawing import figures, tables

ROOT = Path(__file__).parent.parent
ESCAPE = "\x1b[2J"  # clears a terminal
NASTY = f"a|b\n{ESCAPE}<img src=x onerror=alert(1)>&lt;\u202e[x](javascript:y)`\\|_%#$\r\u2028"


def test_markdown_and_latex_hold_names_of_groups_in_their_cells():
    table = findings.Table("t", NASTY, pd.DataFrame({"size": [NASTY], "alpha": [0.5]}))
    lines = tables.markdown(table).splitlines()
    assert len(lines) == 5  # title, empty, headings, rule, the row
    for line in lines[2:]:
        unescaped = line.replace("\\\\", "").replace("\\|", "")
        assert unescaped.count("|") == 3
    for text in lines:
        assert "<img" not in text and "](" not in text and "&amp;lt;" in text or "x1b" not in text
    tex = tables.latex(table)
    assert tex.count("\n") == 8 and r"\textbackslash{}|\_\%\#\$" in tex and "\x1b" not in tex
    usual = findings.Table(
        "t", "Laws", pd.DataFrame({"kl_coef": [0.1], "r2": [0.99], "x": ["0.5 [0.4, 0.6] < 1 & d*"]})
    )
    assert "| 0.1 | 0.990 | 0.5 [0.4, 0.6] < 1 & d* |" in tables.markdown(usual)
    assert "R$^2$" in tables.latex(usual)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (np.float64("nan"), "nan"),
        (np.int64(3), "3"),
        (np.array([1, 2]), "[1, 2]"),
        (np.bool_(True), "True"),
        ("a\x1bb", r"'a\\x1bb'"),
        ("x" * 1000, "'" + "x" * (escaped.LONG - 1) + ".."),
    ],
)
def test_values_are_repeated_as_one_would_type_them(given, shown):
    assert escaped.value(given).replace("\\x1b", "\\\\x1b") == shown or escaped.value(given) == shown


def test_nothing_in_analysis_prints_but_say():
    for path in (ROOT / "analysis").rglob("*.py"):
        assert path.name == "escaped.py" or "print(" not in path.read_text(), path


@pytest.mark.parametrize("label", [f"a{ESCAPE}", r"$\undefined$", "$$$", "x" * 500, "\u4e2d", "a$b$"])
def test_figures_are_drawn_whatever_labels_say(tmp_path, label):
    figure, (ax,) = figures.panels(1)
    ax.plot([0, 1], [0, 1], label=label)
    ax.set_title(label)
    ax.legend()
    figures.save(figure, tmp_path, "x")
    assert (tmp_path / "x.png").stat().st_size > 1000 and (tmp_path / "x.pdf").exists()
