"""A benchmark: completions a CPU-second of a whole RLOO step on one core, and the fraction of its peak.

    python -m experiments throughput                                  2 minutes on one core
    python -m experiments throughput --set peer=SCRIPT --set python=PYTHON
    python -m experiments throughput --set part=stages                every stage against the roofline (roofline.py)
    python -m experiments throughput --set part=mapped                1 to 512 runs in one program
    python -m experiments throughput --preset gpu --set part=stages   the same on an accelerator, to 100M parameters
    python -m analysis throughput                                     figures of the last two

A step samples 256 completions (64 prompts of 8 tokens, 4 completions of 16 each, vocabulary 64), scores
them with a reward model of 0.1M parameters, takes reference log-probs and updates the policy: the very
step of training (`gold_sim/optimisation/driver.py`), ten to a compiled scan. A peer script that prints one
JSON line with completions_per_cpu_s is run in turn with ours, and the ratio of medians is recorded.
"""

import importlib.metadata
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from experiments.benchmark import roofline
from experiments.benchmark.roofline import COMPLETION, GROUP, PROMPT, forward_flops, reward_flops
from experiments.engine import worker
from gold_sim.networks.network import num_params
from gold_sim.store import outputs

SCALE = roofline.SCALES["cpu"]
SIZES = {"smoke": SCALE.policies[:1], "cpu": SCALE.policies}  # 16k, 0.1M, 0.8M parameters
ROUNDS, STEPS = 3, 10
OUT = Path("analysis/out")


def flops_per_completion(width: int, depth: int) -> float:
    """One RLOO step: sampling, reward model, reference, and a gradient pass of three forward passes.

    The policy draws nothing from a completion's last token and does not read it; the reward model does, and of its last
    block needs little else.
    """
    net, rm_net = roofline.networks(SCALE, width, depth)
    return 5 * forward_flops(net, tokens=COMPLETION - 1) + reward_flops(rm_net)


def measure(width: int, depth: int, rounds: int, steps: int) -> dict:
    """One row, in this process: median CPU and wall seconds of `rounds` calls of `steps` steps."""
    import jax
    import jax.numpy as jnp

    net, rm_net = roofline.networks(SCALE, width, depth)
    step, first = roofline.whole_step(SCALE, net, rm_net, "rloo")

    def run(state, ref_params, rm):
        return jax.lax.scan(lambda s, i: (step((s, ref_params, rm), i), None), state, length=steps)[0]

    state, start, rm = jax.jit(first)()
    began = time.perf_counter()
    compiled = jax.jit(run).lower(state, start, rm).compile()
    compile_seconds = time.perf_counter() - began
    state = jax.block_until_ready(compiled(state, start, rm))
    cpu, wall = [], []
    for _ in range(rounds):
        at_wall, at_cpu = time.perf_counter(), time.process_time()
        state = jax.block_until_ready(compiled(state, start, rm))
        wall.append(time.perf_counter() - at_wall)
        cpu.append(time.process_time() - at_cpu)
    completions = SCALE.prompts * GROUP * steps
    x = jnp.ones((1024, 1024))
    product = jax.jit(lambda a: a @ a)
    product(x).block_until_ready()
    best = min(_cpu_seconds(lambda: product(x).block_until_ready()) for _ in range(10))
    rate = 2 * 1024**3 / best
    per_cpu = completions / statistics.median(cpu)
    return dict(
        policy_params=num_params(net),
        completions_per_cpu_second=per_cpu,
        completions_per_second=completions / statistics.median(wall),
        flops_per_completion=flops_per_completion(width, depth),
        matmul_gflops=rate / 1e9,
        matmul_fraction=per_cpu * flops_per_completion(width, depth) / rate,
        compile_seconds=compile_seconds,
    )


def _cpu_seconds(f) -> float:
    """CPU seconds of f; on a shared core wall seconds would understate the rate, and the fraction would pass 1."""
    began = time.process_time()
    f()
    return time.process_time() - began


def _on_one_core(line: list, show: bool = False):
    """The JSON value on the last line that a command prints, run on one core and thread, or beside the accelerator.

    show: what it says on standard error is passed on as it comes.
    """
    a_worker = worker.environment(Path("."))
    environment = os.environ | {name: a_worker[name] for name in a_worker if not name.startswith("JAX_")}  # no cache
    pin = hasattr(os, "sched_setaffinity") and not worker.accelerator()  # Linux
    cores = os.sched_getaffinity(0) if pin else None
    if pin:
        os.sched_setaffinity(0, {max(cores)})  # the child inherits it
    try:
        errors = None if show else subprocess.PIPE
        options = dict(stdout=subprocess.PIPE, stderr=errors, text=True, errors="replace", check=False)
        done = subprocess.run(line, env=environment, **options)
    except OSError as error:
        raise ValueError(f"throughput: {line[0]}: cannot be run ({error.strerror}); a Python is wanted") from error
    finally:
        if pin:
            os.sched_setaffinity(0, cores)
    last = lambda text: (text.strip().splitlines() or ["it said nothing"])[-1]
    if done.returncode:
        raise ValueError(f"throughput: {' '.join(line[:2])} failed: {last(done.stderr or '')}")
    try:
        return json.loads(last(done.stdout))
    except ValueError:
        said = f"{' '.join(line[:2])} said {last(done.stdout)!r:.200}"
        raise ValueError(f"throughput: {said}; a last line of JSON is wanted") from None


def _rate_of(peer: list, words: list) -> float:
    """Completions a CPU-second of a peer script.  ValueError: it does not say, or says no rate."""
    reply = _on_one_core([*peer, *words])
    if not isinstance(reply, dict):
        raise ValueError(f"throughput: {' '.join(peer)} said {reply!r:.80}; a last line of JSON, an object, is wanted")
    rate = reply.get("completions_per_cpu_s")
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < math.inf:
        said = f"{' '.join(peer)} said completions_per_cpu_s={rate!r:.80}"
        raise ValueError(f"throughput: {said}; a number above 0 is wanted")
    return rate


def _shape(width: int, depth: int) -> list:
    """Arguments of a peer script that give it our step; its own defaults are not trusted."""
    sizes = dict(layers=depth, dim=width, batch=SCALE.prompts * GROUP, group=GROUP, prompt_len=PROMPT, new=COMPLETION)
    sizes |= dict(rm_layers=SCALE.reward_model[1], rm_dim=SCALE.reward_model[0])
    return [word for name, size in sizes.items() for word in (f"--{name.replace('_', '-')}", str(size))]


def _cpu() -> str:
    """Model name of the processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _options(args) -> dict[str, str]:
    """What --set says.  ValueError: an option that there is not, twice, or beside one that it does not go with."""
    options = {}
    for name, _, value in (option.partition("=") for option in args.set):
        if name not in ("peer", "python", "part") or not value:
            raise ValueError(f"--set {name}={value}: throughput takes peer=SCRIPT and python=PYTHON, or part=PART")
        if name in options:
            raise ValueError(f"--set {name}={value}: it was {name}={options[name]} already; once is wanted")
        options[name] = value
    if "part" in options and len(options) > 1 or "python" in options and "peer" not in options:
        raise ValueError(f"--set {' '.join(options)}: peer=SCRIPT with or without python=PYTHON, or part=PART alone")
    allowed = roofline.SCALES if "part" in options else SIZES
    if args.preset not in allowed:
        of_part = "" if "part" in options else ", and with part= gpu"
        raise ValueError(f"--preset {args.preset!r}: throughput has {', '.join(allowed)}{of_part}")
    if "peer" in options and not Path(options["peer"]).is_file():
        raise ValueError(f"--set peer={options['peer']}: no such script")
    return options


def main(args, runs: Path) -> int:
    """Measure every size in turn with the peer, if one is named; print the table, store summary.json.

    runs: folder of the store, where the record goes.
    """
    options = _options(args)
    if not args.dry_run:
        _writable(runs / "throughput", OUT)
    if "part" in options:
        return _part(args, runs, options["part"])
    sizes, steps = SIZES[args.preset], 2 if args.preset == "smoke" else STEPS
    if args.dry_run:
        print("\n".join(f"throughput of a policy {w}x{d}" for w, d in sizes))
        return 0
    rounds = 1 if args.preset == "smoke" else ROUNDS
    name = "throughput" if args.preset == "cpu" else f"throughput-{args.preset}"  # a smoke run is no result
    out = OUT / name / "summary.json"
    rows, rates = [], []
    for width, depth in sizes:
        ours, peers = [], []
        for _ in range(rounds):  # interleaved, so that a slow moment of the machine affects either
            words = [str(width), str(depth), str(steps)]
            ours.append(_on_one_core([sys.executable, "-m", "experiments.benchmark.throughput", *words]))
            if "peer" in options:
                peer = [options.get("python", sys.executable), options["peer"]]
                peers.append(_rate_of(peer, _shape(width, depth)))
        row = {name: statistics.median(o[name] for o in ours) for name in ours[0]}
        row["policy_params"] = int(row["policy_params"])
        rates.append(row.pop("matmul_gflops"))
        if peers:
            row["peer_completions_per_cpu_second"] = statistics.median(peers)
            row["ratio"] = row["completions_per_cpu_second"] / row["peer_completions_per_cpu_second"]
        rows.append(row)
        if len(rows) == 1:
            print("  ".join(row))
        print("  ".join(f"{value:>{len(name)},.4g}" for name, value in row.items()), flush=True)
    summary = dict(experiment="throughput", preset=args.preset, rounds=rounds, cpu=_cpu(), matmul_gflops=max(rates))
    summary |= dict(python=platform.python_version(), jax=importlib.metadata.version("jax"), rows=rows)
    for path in (_record(runs / "throughput"), out):
        _write(path, summary)
    print(f"summary  {out}")
    return 0


def _record(folder: Path) -> Path:
    """The path of a new measurement's record, beside earlier ones."""
    return folder / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}.json"


def _write(path: Path, summary: dict):
    path.parent.mkdir(parents=True, exist_ok=True)
    outputs.write(path, json.dumps(summary, indent=1) + "\n")


SHOWN = (
    *("completions_per_second", "matmul_fraction", "width_fraction", "bandwidth_fraction", "roofline_fraction"),
    *("least_seconds", "call_seconds", "compile_seconds"),
)


def _writable(*folders: Path):
    """Make the folders that results go to, before minutes are spent on them.  ValueError: one cannot be written."""
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise ValueError(f"{folder}: cannot be written ({error.strerror}); a folder is wanted") from error


def _part(args, runs: Path, part: str) -> int:
    """One table of roofline.py, measured in a process of its own: one core of a CPU, or the accelerator."""
    if part not in roofline.PARTS:
        raise ValueError(f"--set part={part}: allowed are {', '.join(roofline.PARTS)}")
    if args.dry_run:
        scale = roofline.SCALES[args.preset]
        print("\n".join(f"throughput, {part}, of a policy {w}x{d}" for w, d in scale.policies))
        return 0
    print(f"{'stage':22s} {'params':>11s} {'runs':>4s}  " + "  ".join(SHOWN) + "  bound", flush=True)
    record = _record(runs.absolute() / "throughput" / part)
    _on_one_core([sys.executable, "-m", "experiments.benchmark.throughput", part, args.preset, str(record)], show=True)
    out = OUT / "throughput" / (f"{part}.json" if args.preset == "cpu" else f"{part}-{args.preset}.json")
    _write(out, json.loads(record.read_text()))
    print(f"summary  {out}")
    return 0


def _measure_part(part: str, preset: str, record: Path):
    """In a process of its own. The record grows line by line: what was measured before a kill is kept."""
    import jax

    jax.config.update("jax_enable_compilation_cache", False)
    summary = dict(experiment="throughput", preset=preset, part=part, cpu=_cpu(), python=platform.python_version())
    summary |= dict(jax=jax.__version__, device=jax.devices()[0].device_kind)

    def report(line, found):
        _show(line)
        _write(record, summary | found)

    roofline.PARTS[part](roofline.SCALES[preset], report)
    print(json.dumps(str(record)))


def _show(row):
    """A line of the table as it is measured, and where its time goes; standard output is for the JSON that ends it."""
    if isinstance(row, dict):
        cells = "  ".join(f"{row[name]:>{len(name)},.3g}" if name in row else f"{'-':>{len(name)}}" for name in SHOWN)
        line = f"{row['stage']:22s} {row['params']:11,} {row['mapped_runs']:4d}  {cells}  {row['bound']}"
        parts = [f"{kind} {part / row['seconds']:.1%}" for kind, part in row.get("spent", {}).items()]
        told = ", ".join(parts) or "not known where its time goes: other work had the core"
        row = f"{line}\n{'':22s} {told}" if "spent" in row else line
    print(row, file=sys.stderr, flush=True)


if __name__ == "__main__":
    if sys.argv[1] in roofline.PARTS:
        _measure_part(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
    else:
        print(json.dumps(measure(int(sys.argv[1]), int(sys.argv[2]), ROUNDS, int(sys.argv[3]))))
