"""The benchmark runs and counts what it says; no test is timed."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from analysis.studies import throughput as throughput_figures
from experiments.benchmark import limits, products, roofline, spent
from gold_sim import device
from gold_sim.language import sequences
from gold_sim.networks import network, transformer
from gold_sim.networks import products as networks_products
from gold_sim.networks.network import Network

ROOT = Path(__file__).parent.parent


def test_operations_by_hand():
    # width 2, depth 1, 64 outputs; 16 + 8/4 = 18 tokens of 12 * 4 multiply-adds = 864;
    # attended: sum of 9..24 = 264, and 36 / 4 = 9 for the prompt: 273 positions * 2 * 2 = 1092;
    # head: 2 * 64 * 16 = 2048; two operations each: 2 * (864 + 1092 + 2048) = 8008.
    assert roofline.forward_flops(Network(2, 1, 64, 64, 24), tokens=16) == 8008
    # a reward of two blocks: one as above and one output once, 2 * (864 + 1092 + 2); the last block's keys and
    # values, 18 * 2 * 4 = 144, its last token, 10 * 4 = 40, and 24 positions * 2 * 2 = 96.
    assert roofline.reward_flops(Network(2, 2, 64, 1, 24)) == 2 * (864 + 1092 + 2) + 2 * (144 + 40 + 96)


def test_work_by_hand():
    """Width 4, depth 1, 300 parameters or so: a policy of 64 words over 8 completions, two groups."""
    net = Network(4, 1, 64, 64, 24)
    size = transformer.num_params(net)
    once = roofline.forward(net, 8)
    assert once.flops == 8 * roofline.forward_flops(net, tokens=15) and once.bytes == 4 * size
    cached = sum(2 + t for t in range(1, 16)) * 2 * 4  # keys and values of the prompt's share and of t tokens
    assert roofline.sampling(net, 8).bytes == 4 * (16 * size + 8 * cached)
    assert roofline.update(net, 8).flops == 3 * once.flops
    rates = dict(matmul_gflops=1e-9 * once.flops, bandwidth_gbytes=1e-9 * once.bytes / 4)
    measured = roofline.Measurement("reference log-probs", net, once, None, None)
    names = ("matmul_fraction", "bandwidth_fraction", "roofline_fraction", "least_seconds")
    row = roofline.row(measured, 8.0, 1.0, rates, {})  # 1 s of products, 4 s of bytes, took 8
    assert [row[name] for name in names] == pytest.approx([0.125, 0.5, 0.5, 4.0])
    assert row["bound"] == "bandwidth" and row["completions_per_second"] == 1
    row = roofline.row(measured, 8.0, 1.0, rates, dict(width_seconds=6.0))  # narrow products take 6 s at their best
    assert [row[name] for name in names] == pytest.approx([0.125, 0.5, 0.75, 6.0]) and row["bound"] == "products"
    cached = dict(rates, bandwidths=[(4 * size, "L1", 10 * rates["bandwidth_gbytes"])])  # ten times memory's
    assert roofline.row(measured, 8.0, 1.0, cached, {})["bandwidth_fraction"] == pytest.approx(0.05)
    twice = dataclasses.replace(measured, work=once * 2)  # two runs' parameters do not fit
    assert roofline.row(twice, 8.0, 1.0, cached, {})["bandwidth_fraction"] == pytest.approx(1.0)
    twice = dataclasses.replace(measured, work=once.in_turn(2))  # those of one run, read twice, do
    assert roofline.row(twice, 8.0, 1.0, cached, {})["bandwidth_fraction"] == pytest.approx(0.1)


PROMPTS, RESPONSES = jnp.zeros((6, 8), int), jnp.zeros((6, 4, 16), int)


def logits_of(net):
    """What reads the 24 completions of RESPONSES with a network."""
    return lambda params: transformer.logits(net, params, PROMPTS, RESPONSES)


@pytest.mark.parametrize("width", [8, 64])
def test_products_listed_are_those_of_the_formula(width):
    net = Network(width, 2, 64, 64, 24)
    head, shapes = width // net.heads, transformer.shapes(net)
    of = lambda found: (
        products.flops({p: n for p, n in found.items() if (p.batch > 1) is attends}) for attends in (False, True)
    )
    parameters, attention = of(products.of(logits_of(net), shapes))
    tokens, _ = roofline.read(15)
    assert parameters == 24 * network.forward_flops(net, tokens, attended=0, states=16)
    # In each block and head of a response 15 queries and 2 of the prompt's 8 see 8 + 15 keys, padded to 24, in the
    # scores and in the mix; the formula counts those that are not hidden.
    assert attention == 24 * 2 * net.heads * 2 * 2 * 17 * 24 * head
    loss = lambda params: jnp.sum(logits_of(net)(params))
    parameters_back, attention_back = of(products.of(jax.grad(loss), shapes))
    assert parameters_back == 3 * parameters
    # The weights again, gradients of weights, values, queries and keys; those of keys have 24 of them and 17 queries.
    assert attention_back == attention * 7 / 2


def test_products_listed_are_what_xla_counts():
    """XLA counts sums and exponentials too: less than a tenth at width 64."""
    net = Network(64, 2, 64, 64, 24)
    listed = products.flops(products.of(logits_of(net), transformer.shapes(net)))
    counted = jax.jit(logits_of(net)).lower(transformer.shapes(net)).cost_analysis()["flops"]
    assert listed < counted < 1.1 * listed


def test_products_in_loops_are_counted_as_often_as_they_are_done():
    x = jnp.zeros((3, 3))
    scanned = lambda x: jax.lax.scan(lambda x, _: (jax.jit(jnp.dot)(x, x), None), x, length=5)[0]
    assert products.of(scanned, x) == {products.Product(1, 3, 3, 3): 5}
    batched = lambda x, y: jnp.einsum("bqd,bkd->bqk", x, y)
    assert products.of(batched, jnp.zeros((2, 5, 7)), jnp.zeros((2, 6, 7))) == {products.Product(2, 5, 7, 6): 1}
    with pytest.raises(ValueError, match="while loop"):
        products.of(lambda x: jax.lax.while_loop(lambda x: x[0, 0] < 1, lambda x: x @ x, x), x)


def test_every_product_has_a_rate_of_its_own():
    rates, small, large = products.Rates(), products.Product(1, 8, 8, 8), products.Product(2, 64, 64, 64)
    assert rates.seconds({small: 3, large: 2}) == 3 * rates.of(small)[0] + 2 * rates.of(large)[0]
    assert 0 < rates.of(small)[0] < rates.of(large)[0]  # 1,024 against 1,048,576 operations
    assert [line["batch"] for line in rates.rows()] == [1, 2]


def test_time_is_told_apart_by_what_the_operations_are_of():
    """A program with a norm, a product, attention and drawing has all of these in its trace, and nothing of Adam."""

    def f(x, u):
        y = networks_products.norm(x, jnp.ones(64)) @ jnp.ones((64, 64))
        q = y.reshape(32, 8, 1, 64)
        mixed = networks_products.attention(q, q, q, jnp.zeros((1, 1, 8, 8)))
        return sequences.draw(jnp.exp(mixed.reshape(256, 64)), u)

    args = jnp.ones((256, 64)), jnp.ones(256) / 2
    program = jax.jit(f).lower(*args).compile(compiler_options=spent.TRACED)
    found = spent.by_kind(program, *args, hlo=program.as_text())
    assert found[spent.PRODUCTS] + found[spent.FUSED] > 0 and found["Adam"] == 0
    assert all(found[kind] > 0 for kind in ("softmax", "norms", "drawing"))
    assert sum(found.values()) < 1


@pytest.mark.parametrize("accelerated", [False, True])
def test_table_grows_line_by_line_and_ends_where_steps_take_long(monkeypatch, accelerated):
    monkeypatch.setattr(device, "accelerated", lambda: accelerated)
    monkeypatch.setattr(limits, "measured", lambda: dict(matmul_gflops=1.0, bandwidth_gbytes=1.0))
    zeros = lambda: jnp.zeros(2)
    net, seconds = Network(4, 1, 64, 64, 24), {1: 0.1, 2: 0.6, 4: 5.0}
    monkeypatch.setattr(roofline, "timed", lambda m, program, repeats, rounds: seconds[m.runs])
    of = lambda stage, runs: roofline.Measurement(stage, net, roofline.forward(net, 8), lambda p, i: p, zeros, runs)
    both = [of("a", 1), of("a", 2), of("a", 4), of("b", 1)]
    told, scale = [], dataclasses.replace(roofline.SCALES["smoke"], most_seconds=1.0)
    found = roofline.table(both, scale, 1, lambda line, found: told.append((line["stage"], len(found["rows"]))))
    assert told == [("a", 1), ("a", 2), ("b", 3)]  # twice 0.6 s is too long for more runs of a
    assert [row["mapped_runs"] for row in found["rows"]] == [1, 2, 1] and found["matmul_gflops"] == 1.0


def test_parts_are_measured_stored_and_drawn(tmp_path):
    line = [sys.executable, "-m", "experiments", "throughput", "--preset", "smoke", "--set", "part=mapped"]
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "analysis/out/throughput/mapped-smoke.json").read_text())
    assert [row["mapped_runs"] for row in record["rows"]] == [1, 2]
    assert all(0 < row["matmul_fraction"] < 1 and row["seconds"] > 0 for row in record["rows"])
    for part in ("mapped", "stages"):  # as if of another preset: what is measured at smoke is not drawn
        (tmp_path / "runs/throughput" / part).mkdir(exist_ok=True)
        (tmp_path / "runs/throughput" / part / "z.json").write_text(json.dumps(dict(record, preset="cpu")))
    record["rows"][0]["stage"] = "sampling"
    (tmp_path / "runs/throughput/stages/z.json").write_text(json.dumps(dict(record, preset="cpu")))
    assert throughput_figures.study(tmp_path / "runs/throughput", tmp_path) == ["stages", "mapped"]
    assert (tmp_path / "stages.png").stat().st_size > 10_000


def test_smoke_writes_the_documented_keys(tmp_path):
    line = [sys.executable, "-m", "experiments", "throughput", "--preset", "smoke"]
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    row = json.loads((tmp_path / "analysis/out/throughput-smoke/summary.json").read_text())["rows"][0]
    names = "policy_params completions_per_cpu_second flops_per_completion matmul_fraction compile_seconds"
    assert all(row[name] > 0 for name in names.split())


def test_where_time_goes_is_not_told_of_a_core_that_others_had(monkeypatch):
    monkeypatch.setattr(spent, "by_kind", lambda program, params, hlo: {"products": 4.0})  # of two calls
    rates = products.Rates({products.Product(1, 3, 3, 3): (0.5, "numpy")})
    program = jax.jit(lambda x: x).lower(jnp.ones((3, 3))).compile()
    apart = lambda seconds: spent.taken_apart(
        lambda x, i: x @ x, lambda: jnp.ones((3, 3)), program, repeats=2, seconds=seconds, rates=rates
    )
    assert apart(2.5)["spent"] == {"products": 2.0, "between": 0.5} and apart(2.5)["width_fraction"] == 0.2
    assert apart(1.9)["spent"] == {"products": 2.0, "between": pytest.approx(-0.1)}  # as a clock may err
    assert apart(1.7)["spent"] == {}


def test_unknown_option_is_one_line():
    line = [sys.executable, "-m", "experiments", "throughput", "--set", "pear=x"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "pear" in done.stderr and len(done.stderr.strip().splitlines()) == 1
