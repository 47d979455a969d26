"""The stage `reference`: a policy is fit to demonstrations. RLHF starts from it, and it writes the preference data."""

import jax
import jax.numpy as jnp

from gold_sim import policy, streams
from gold_sim.networks import transformer
from gold_sim.stages.parallel import alone, here, to_numpy
from gold_sim.stages.tables import thinned


def blank(language, config) -> dict:
    return dict(params=transformer.zeros(policy.network(language, config.reference)))


def reference(cell, inputs, store, progress):
    language, config = inputs.language, cell.config.reference
    k_init, k_demos = (streams.key(config.seed, f"policy.{name}") for name in ("init", "demonstrations"))
    fit = alone(lambda *shown: policy.fitted(language, config, k_init, *shown))
    params, losses = here(fit(*policy.demonstrated(language, config.batch, config.steps, k_demos)))
    net = policy.network(language, config)
    key = streams.key(config.seed, "reference.report")
    prompts = language.prompts(key, 2048, held_out=True)
    demos = policy.shown(language, jax.random.fold_in(key, 1), prompts)
    drawn = policy.responses(net, params, prompts, 2, language.response_len, jax.random.fold_in(key, 2))

    names = sorted(jax.eval_shape(language.attributes, prompts, drawn))

    @jax.jit
    def report(params, prompts, demos, drawn):
        # Reduced together and returned in one array: one by one they would be a hundred kernels to compile.
        read = language.attributes(prompts, jnp.concatenate([demos, drawn], axis=1))
        rows = jnp.stack([read[name].astype(jnp.float32) for name in names])
        moments = lambda rows: jnp.stack([jnp.mean(rows, (1, 2)), jnp.std(rows, (1, 2))], axis=-1)
        written = demos.shape[1]
        return (
            policy.cross_entropy(net, params, prompts, demos),
            moments(rows[..., :written]),
            moments(rows[..., written:]),
        )

    loss, of_demos, of_samples = to_numpy(report(params, prompts, demos, drawn))
    named = lambda moments: dict(zip(names, moments.tolist(), strict=True))  # name -> [mean, s.d.]
    record = dict(
        params=transformer.num_params(net),
        loss_curve=thinned(losses),
        held_out_loss=float(loss),  # nats a token
        demonstration_attributes=named(of_demos),
        sampled_attributes=named(of_samples),
    )
    return record, {}, {"arrays": {"params": to_numpy(params)}}
