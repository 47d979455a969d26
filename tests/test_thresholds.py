"""The search for thresholds: it finds a known peak, asks no point twice, keeps its budget, says what is wrong."""

import pytest

from experiments import thresholds


def test_search_climbs_a_known_surface_within_its_budget():
    asked = []

    def gold(at):
        asked.append(at)
        return 1 - (at[0] - 0.9) ** 2 - (at[1] - 0.6) ** 2

    tried = thresholds.search(gold, (0.2, 0.2), 0.3, budget=30)
    best, value = max(tried, key=lambda pair: pair[1])
    assert best == pytest.approx((0.9, 0.6), abs=0.11) and value > 0.98
    assert len(asked) == len(set(asked)) == len(tried) <= 30
    again = thresholds.search(gold, (0.2, 0.2), 0.3, budget=5)
    assert again == tried[:5]  # a larger budget goes on where a smaller one stopped


def test_a_budget_below_a_simplex_is_one_line(tmp_path, capsys):
    assert thresholds.main(["--budget", "2", "--runs", str(tmp_path)]) == 2
    assert "--budget 2" in capsys.readouterr().err
