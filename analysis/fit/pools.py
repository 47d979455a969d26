"""Tables of scored samples, one row a sample of a prompt, read into pools: (prompt, sample, proxy, gold).

A pool holds the samples of one group. The reward models of a group (its seeds) score the same prompts, so that prompts
and reward models are crossed. What cannot be used is refused with one line; what is left out is counted in a warning.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from analysis import escaped
from analysis.fit import fits, importers, values
from analysis.fit.values import BadInput

RESULT = ("n", "kl", "kl_with_ties", "gold", "gold_ci", "gain", "gain_ci", "proxy", "n_ci", "error", *fits.RESULT)
AT_ONCE = 2_000_000  # samples that one piece of work takes
REPEATED = 0.9  # share of rows that repeat another's prompt and gold at which a response seems to stand in several rows
CONTINUOUS = 0.1  # distinct gold scores a row at which such repeats are no coincidence


@dataclass(frozen=True)
class Columns:
    """Names of the columns of a score table."""

    prompt: str
    proxy: str
    gold: str
    sample: str | None = None
    by: str | None = None  # groups, each with a curve of its own
    seed: str | None = None  # tells reward models apart

    @property
    def keys(self) -> dict[str, str]:
        """Option -> column, of those that are given and hold labels."""
        given = {"by": self.by, "seed-column": self.seed, "prompt": self.prompt, "sample": self.sample}
        return {option: name for option, name in given.items() if name is not None}


@dataclass(frozen=True)
class Pool:
    """The samples of one group: S reward models, P prompts, and for each pair of them N samples, ascending in proxy."""

    key: object  # of the group
    num_seeds: int  # S
    num_prompts: int  # P
    num_samples: int  # the least N of all pairs, up to which n goes
    blocks: tuple  # pairs of equal N: (number of the pair, s P + p, [C]; proxy [C, N]; gold [C, N])

    def each(self, function: Callable, *shape: int) -> np.ndarray:
        """function(proxy [C, N], gold [C, N]) -> [C, *shape], of all pairs: [S, P, *shape]; in pieces of AT_ONCE."""
        out = np.empty((self.num_seeds * self.num_prompts, *shape))
        for pairs, proxy, gold in self.blocks:
            step = max(1, AT_ONCE // proxy.shape[1])
            for at in range(0, len(pairs), step):
                piece = slice(at, at + step)
                out[pairs[piece]] = function(proxy[piece], gold[piece])
        return out.reshape(self.num_seeds, self.num_prompts, *shape)


@dataclass(frozen=True)
class _Rows:
    """The rows of a table: labels by option, and scores."""

    keys: dict[str, pd.Series]
    proxy: np.ndarray
    gold: np.ndarray

    def codes(self, option: str) -> tuple[np.ndarray, list]:
        """(number of each row's label, the labels); where no column was named, all rows are of one."""
        if option not in self.keys:
            return np.zeros(len(self.proxy), np.int64), ["all"]
        codes, labels = pd.factorize(self.keys[option], sort=option == "by")
        return codes.astype(np.int64), list(labels)


@dataclass(frozen=True)
class _Pairs:
    """Pairs of a reward model and a prompt, whose samples are scores[starts : starts + sizes]."""

    seed: np.ndarray
    prompt: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray

    def where(self, kept) -> "_Pairs":
        return _Pairs(self.seed[kept], self.prompt[kept], self.starts[kept], self.sizes[kept])


def load(path: Path, columns: Columns) -> tuple[list[Pool], list[str]]:
    """The pools of a table, one a group in order of its key, and warnings.  BadInput for what cannot be used."""
    rows, warnings = _rows(path, columns)
    group, keys = rows.codes("by")
    seed, seeds = rows.codes("seed-column")
    prompt, prompts = rows.codes("prompt")
    pair, proxy, gold = (group * len(seeds) + seed) * len(prompts) + prompt, rows.proxy, rows.gold
    if columns.sample is not None:
        kept = _without_repeats(path, columns, rows, pair, warnings)
        pair, proxy, gold = pair[kept], proxy[kept], gold[kept]
    elif warned := _seem_repeated(pair, gold, columns):
        warnings.append(warned)
    del rows, group, seed, prompt
    order = np.lexsort((proxy, pair))
    pair, proxy, gold = pair[order], proxy[order], gold[order]
    starts = np.flatnonzero(np.append(True, pair[1:] != pair[:-1]))
    group, rest = np.divmod(pair[starts], len(seeds) * len(prompts))
    pairs = _Pairs(*np.divmod(rest, len(prompts)), starts, np.diff(np.append(starts, len(pair))))
    out = []
    for g, key in enumerate(keys):
        where = f"{columns.by}={key}: " if columns.by else ""
        try:
            pool, odd = _pool(key, pairs.where(group == g), (proxy, gold), columns)
        except BadInput as error:
            raise BadInput(f"{path}: {where}{error}") from None
        out.append(pool)
        warnings += [where + words for words in odd]
    return out, warnings


def _rows(path, columns: Columns) -> tuple[_Rows, list[str]]:
    """Labels and finite scores; rows whose status is not ok are left out, and a warning counts them."""
    names = [*columns.keys.values(), columns.proxy, columns.gold]
    if twice := [name for name in names if names.count(name) > 1]:
        raise BadInput(f"{path}: column {twice[0]!r} is named twice; each option wants a column of its own")
    table = importers.read(path, [*names, "status"]).table
    for name in names:
        values.check_column(path, table, name)
    if columns.by in RESULT:
        raise BadInput(f"{path}: {columns.by!r} has a meaning in the result; another name is wanted for this column")
    table, warnings = (table, []) if "status" in names else fits.ended_well(table, path)
    proxy, gold = (_scores(path, table, name) for name in (columns.proxy, columns.gold))
    return _Rows({o: values.keys(path, table, name) for o, name in columns.keys.items()}, proxy, gold), warnings


def _scores(path, table, name: str) -> np.ndarray:
    """Finite numbers; yes and no, as of answers that are checked, are 1 and 0."""
    if table[name].dtype == bool:
        return table[name].to_numpy(float)
    return values.numbers(path, table, name).to_numpy(float)


def _without_repeats(path, columns: Columns, rows: _Rows, pair, warnings) -> np.ndarray:
    """Which rows to keep: a sample that stands twice with the same scores counts once, with other scores is refused."""
    sample, samples = rows.codes("sample")
    key = pair * len(samples) + sample
    again = pd.Series(key).duplicated().to_numpy()
    if not again.any():
        return ~again
    same = pd.DataFrame({"key": key, "proxy": rows.proxy, "gold": rows.gold}).duplicated().to_numpy()
    if (odd := again & ~same).any():
        at = int(np.flatnonzero(odd)[0])
        where = ", ".join(f"{columns.keys[o]}={escaped.value(labels.iloc[at])}" for o, labels in rows.keys.items())
        apart = " and ".join(f"--{o}" for o in ("by", "seed-column") if o not in rows.keys)
        hint = f" (groups and reward models are told apart by {apart})" if apart else ""
        raise BadInput(f"{path}: {where} stands twice with different scores; one row a sample is wanted{hint}")
    warnings.append(f"{again.sum():,} of {len(key):,} rows repeat another row's sample and scores: they count once")
    return ~again


def _seem_repeated(pair, gold, columns: Columns) -> str | None:
    """A warning where nearly every row has the prompt and the gold of another, though gold is continuous."""
    if len(pd.unique(gold)) < CONTINUOUS * len(gold):
        return None
    share = pd.DataFrame({"pair": pair, "gold": gold}).duplicated(keep=False).mean()
    if share < REPEATED:
        return None
    models = "" if columns.seed else ", or several reward models (name their column: --seed-column)"
    return f"{share:.0%} of rows have the prompt and gold of another row: a table that holds its rows twice{models}"


def _pool(key, pairs: _Pairs, scores, columns: Columns) -> tuple[Pool, list[str]]:
    """One group, and warnings.  scores: (proxy, gold) of all rows, ascending in the proxy within a pair."""
    pairs, warnings = _usable(pairs, columns)
    seeds, seed = np.unique(pairs.seed, return_inverse=True)
    prompts, prompt = np.unique(pairs.prompt, return_inverse=True)
    blocks = _blocks(seed * len(prompts) + prompt, pairs, *scores)
    low, high = int(pairs.sizes.min()), int(pairs.sizes.max())
    if low < high:
        warnings.append(f"prompts have {low:,} to {high:,} samples: all count, and the curve ends at n = {low:,}")
    flat = sum(int(np.sum(proxy[:, 0] == proxy[:, -1])) for _, proxy, _ in blocks)
    if flat == len(seed):
        raise BadInput(f"{columns.proxy} is the same for all samples of every prompt; one that differs is wanted")
    if flat:
        of = f"{flat:,} of {len(seed):,} prompts" if len(seeds) == 1 else f"{flat:,} of {len(seed):,} (prompt, model)"
        warnings.append(f"{columns.proxy} is the same for all samples in {of}: selection there is by chance")
    return Pool(key, len(seeds), len(prompts), low, blocks), warnings


def _usable(pairs: _Pairs, columns: Columns) -> tuple[_Pairs, list[str]]:
    """Pairs of the prompts that every reward model scores, without those that have few samples; and warnings."""
    warnings, seeds = [], len(np.unique(pairs.seed))
    prompts, prompt = np.unique(pairs.prompt, return_inverse=True)
    complete = np.bincount(prompt) == seeds
    if complete.sum() < min(2, len(prompts)):
        given = f"{seeds} values of {columns.seed} have {complete.sum()} prompts in common"
        raise BadInput(f"{given}; the same prompts are wanted for all")
    if left := int((~complete).sum()):
        warnings.append(f"left out {left:,} of {len(prompts):,} prompts: not scored by every {columns.seed}")
    least = np.full(len(prompts), np.iinfo(np.int64).max)
    np.minimum.at(least, prompt, pairs.sizes)
    if least[complete].max() == 1:
        raise BadInput("one sample a prompt; several are wanted, for best-of-n to select from")
    wanted = max(2.0, np.median(least[complete]) / 2)
    if few := int(np.sum(complete & (least < wanted))):
        given = f"left out {few:,} of {complete.sum():,} prompts: fewer than {wanted:g} samples"
        warnings.append(f"{given}; the curve would end there (half the median number, and at least 2, are wanted)")
    return pairs.where((complete & (least >= wanted))[prompt]), warnings


def _blocks(number, pairs: _Pairs, proxy, gold) -> tuple:
    out = []
    for size in np.unique(pairs.sizes):
        of = pairs.sizes == size
        rows = pairs.starts[of][:, None] + np.arange(size)
        out.append((number[of], proxy[rows], gold[rows]))
    return tuple(out)
