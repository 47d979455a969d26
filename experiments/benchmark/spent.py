"""Where the time of a compiled program goes on a CPU: XLA's own trace of its operations, each traced to its function.

    python -m experiments throughput --set part=stages      prints it, a line a stage

The library of XLA joins products with sums, exponentials and norms into one operation. Such an operation is of the kind
`fused products`, and `products` are those with nothing joined to them. A trace has wall-clock time: on a shared core an
operation lasts longer whenever another process has its turn. So an operation's time is that of its fastest turn, times
their number. On a core that many share, an operation of milliseconds may never be alone. Where the sum passes the CPU
time by a tenth, nothing is told.
"""

import collections
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

from experiments.benchmark import limits, products

TRACED = {"xla_cpu_enable_xprof_traceme": True}  # `compiler_options` of a program that tells its operations
PRODUCTS, FUSED, OTHER = "products", "fused products", "other kernels"
TURNS = 3  # calls that are traced
# The innermost of these functions in which an operation was written says what it belongs to, if it is no product.
BELONGS = {
    **dict.fromkeys(("attention", "_attention", "_attention_forth", "_attention_back", "_weights"), "softmax"),
    **dict.fromkeys(("norm", "_norm", "_norm_forth", "_norm_back", "_normed"), "norms"),
    **dict.fromkeys(("draw", "uniforms", "choose"), "drawing"),
    **dict.fromkeys(("log_probs", "state_kl"), "log-probs"),
    **dict.fromkeys(("clip_by_global_norm", "scale_by_adam", "apply_updates", "descend"), "Adam"),
}
MEASURING = "measuring"  # operations written in the loop that times a stage, and in no function that it calls
KINDS = (PRODUCTS, FUSED, *dict.fromkeys(BELONGS.values()), OTHER, MEASURING)
_CONTAINERS = ("while", "call", "conditional", "tuple", "parameter", "get-tuple-element", "constant", "bitcast")

_ALONE = (*_CONTAINERS, "dot", "broadcast", "reshape", "transpose", "convert", "copy", "slice")

_OPERATION = re.compile(r"^\s*(?:ROOT )?%([\w.-]+) = .*?[})\]] ([a-z][\w-]*)\(")
_COMPUTATION = re.compile(r"^%([\w.-]+) \(.*\{$")


def kinds(hlo: str) -> dict[str, str]:
    """The kind of every operation of an optimised program that can stand in a trace.  hlo: compiled.as_text()."""
    functions, within, found, inside = _functions(hlo), collections.defaultdict(set), {}, None
    for line in hlo.splitlines():
        if start := _COMPUTATION.match(line):
            inside = start[1]
        elif told := _OPERATION.match(line):
            name, operation = told.groups()
            within[inside].add(operation)
            called = re.search(r"calls=%([\w.-]+)", line)
            does = within[called[1]] if called else {operation}
            frame = re.search(r"stack_frame_id=(\d+)", line)
            if "dot" in does:
                found[name] = PRODUCTS if does <= {*_ALONE} else FUSED
            elif operation not in _CONTAINERS:
                found[name] = functions.get(frame[1], OTHER) if frame else OTHER
    return found


def _functions(hlo: str) -> dict[str, str]:
    """What the operations of each stack frame belong to; none where the text has no frames."""
    names = dict(re.findall(r'^(\d+) "([^"/]*)"$', _section(hlo, "FunctionNames"), re.M))
    places = dict(re.findall(r"^(\d+) \{.*function_name_id=(\d+)", _section(hlo, "FileLocations"), re.M))
    frame = r"^(\d+) \{file_location_id=(\d+)(?: parent_frame_id=(\d+))?"
    place_and_parent = {number: told for number, *told in re.findall(frame, _section(hlo, "StackFrames"), re.M)}
    parts = lambda frame: names.get(places.get(place_and_parent[frame][0]), "").split(".")

    def belongs(frame):
        if parts(frame)[:3] == ["compiled", "<locals>", "turn"]:
            return MEASURING
        while frame in place_and_parent:
            if told := [BELONGS[part] for part in parts(frame) if part in BELONGS]:
                return told[-1]
            below, frame = frame, place_and_parent[frame][1]
            if frame == below:  # the outermost
                break
        return OTHER

    return {frame: belongs(frame) for frame in place_and_parent}


def _section(hlo: str, name: str) -> str:
    return hlo.partition(f"\n{name}\n")[2].partition("\n\n")[0]


def by_kind(program, *args, hlo: str) -> dict[str, float]:
    """Seconds of one call program(*args), by kind.  hlo: its text; it was compiled with the options `TRACED`."""
    import jax

    of = kinds(hlo)
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(TURNS):
                jax.block_until_ready(program(*args))
        (path,) = Path(folder).rglob("*.xplane.pb")
        taken = collections.defaultdict(list)
        for plane in jax.profiler.ProfileData.from_file(str(path)).planes:
            for line in plane.lines:
                for event in line.events:
                    if event.name in of:
                        taken[event.name].append(event.duration_ns)
    found = dict.fromkeys(KINDS, 0.0)
    for name, each in taken.items():
        found[of[name]] += 1e-9 * min(each) * len(each) / TURNS
    return found


def taken_apart(f: Callable, first: Callable, program, repeats: int, seconds: float, rates: products.Rates) -> dict:
    """What more a line of the roofline tells of f(params, i): its products at their own fastest, where its time goes.

    program: `repeats` calls of f in a loop, from the parameters that first() makes; one call takes so many seconds.
    """
    import jax

    listed = products.of(f, jax.eval_shape(first), 0)
    params = jax.jit(first)()
    each = {kind: all_calls / repeats for kind, all_calls in by_kind(program, params, hlo=program.as_text()).items()}
    width_seconds, between = rates.seconds(listed), seconds - sum(each.values())
    return dict(
        product_flops=products.flops(listed),
        width_seconds=width_seconds,
        width_fraction=width_seconds / seconds,
        spent=each | {"between": between} if between > -0.1 * seconds else {},
        call_seconds=limits.calling(params),
    )
