"""The layers of `i2s` against TensorFlow/Keras with the same weights, number by number.

    pip install -e '.[train]' tensorflow-cpu
    python bench/i2s_keras.py [--write tests/golden/i2s.npz]

Keras builds every layer anew from its own parts (Conv2D, BatchNormalization, Dense, GRU, Embedding)
in the form that the classic captioner has in TensorFlow. Weights and inputs are seeded, so the
golden file holds Keras's answers alone and the tests need no TensorFlow. Exit code 1 if any
difference is over 1e-5.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from molgaze.picture import load
from molgaze.train.i2s.drawing import canvas
from molgaze.train.i2s.model import I2S, Backbone

Arrays = dict[str, NDArray[np.float32]]

LIMIT = 1e-5
TOKENS = np.array([[1, 40, 52, 7, 9, 40, 2], [1, 60, 3, 2, 0, 0, 0]])  # (B, T + 1), 0 is padding
PICKED = slice(None, None, 8)  # of long last axes, to keep the golden file small


def seeded(shapes: dict[str, tuple[int, ...]]) -> Arrays:
    """Weights by name and shape; batch norms get positive variances."""
    found: Arrays = {}
    for name, shape in shapes.items():
        draw = np.random.default_rng(zlib.crc32(name.encode())).random(shape) * 2 - 1
        fan = int(np.prod(shape[1:])) if len(shape) > 1 else 1
        if ".bn" in f".{name}" and name.endswith(("running_var", "weight")):
            draw = 1 + draw / 2
        elif len(shape) == 4:
            draw *= (4 / fan) ** 0.5
        elif ".v." in name or "embedding" in name:  # attention must not be flat
            draw *= 0.3
        elif len(shape) == 2 and "bias" not in name:
            draw *= (3 / fan) ** 0.5
        else:
            draw *= 0.1
        found[name] = draw.astype(np.float32)
    return found


def inputs() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A noise picture (1, 3, 224, 224) of 0..255 and features (2, 49, 1280) of 0..2."""
    rng = np.random.default_rng(20)
    picture = np.floor(rng.random((1, 3, 224, 224)) * 256).astype(np.float32)
    return picture, np.maximum(rng.random((2, 49, 1280)) * 3 - 1, 0).astype(np.float32)


# --- Keras ----------------------------------------------------------------------------------------


class KerasReader:
    """The captioner from Keras's own layers; `weights` have PyTorch's names and layouts."""

    def __init__(self, weights: Arrays, dtype: str = "float32") -> None:
        # here and not above: the tests take the seeded weights from this file without TensorFlow
        self.tf = importlib.import_module("tensorflow")
        self.w, self.dtype, self.layers = weights, dtype, self.tf.keras.layers
        self.made: dict[str, Any] = {}
        self.tf.keras.config.set_dtype_policy(dtype)

    def layer(self, name: str, make: Any, given: tuple[int, ...], *values: Any) -> Any:
        if name not in self.made:
            layer = make()
            layer.build((None, *given))
            layer.set_weights(values)
            self.made[name] = layer
        return self.made[name]

    def conv(self, x: Any, name: str, kernel: int, stride: int, depthwise: bool = False) -> Any:
        make: Any
        weight = self.w[name + ".weight"]
        if depthwise:
            values = weight.transpose(2, 3, 0, 1)  # (wide, 1, k, k) -> (k, k, wide, 1)

            def make() -> Any:
                return self.layers.DepthwiseConv2D(kernel, stride, "same", use_bias=False)
        else:
            values = weight.transpose(2, 3, 1, 0)  # (out, in, k, k) -> (k, k, in, out)

            def make() -> Any:
                return self.layers.Conv2D(len(weight), kernel, stride, "same", use_bias=False)

        return self.layer(name, make, x.shape[1:], values)(x)

    def norm(self, x: Any, name: str) -> Any:
        order = ("weight", "bias", "running_mean", "running_var")
        values = [self.w[f"{name}.{k}"] for k in order]

        def make() -> Any:
            return self.layers.BatchNormalization(epsilon=1e-3)

        return self.layer(name, make, x.shape[1:], *values)(x, training=False)

    def dense(self, x: Any, name: str, relu: bool = False) -> Any:
        weight, bias = self.w[name + ".weight"], self.w[name + ".bias"]

        def make() -> Any:
            return self.layers.Dense(len(weight), activation="relu" if relu else None)

        return self.layer(name, make, x.shape[1:], weight.T, bias)(x)

    def backbone(self, picture: NDArray[np.float32]) -> Any:
        """Features (B, 49, 1280) of (B, 3, 224, 224)."""
        tf, relu6 = self.tf, self.tf.nn.relu6
        x = tf.constant((picture.transpose(0, 2, 3, 1) - 127) / 128, self.dtype)
        x = relu6(self.norm(self.conv(x, "backbone.conv_stem", 3, 2), "backbone.bn0"))
        number = 0
        for expand, kernel, first, width, repeats in Backbone.STAGES:
            for k in range(repeats):
                name, stride = f"backbone.blocks.{number}", first if k == 0 else 1
                y = x
                if expand > 1:
                    y = relu6(self.norm(self.conv(y, f"{name}.expand_conv", 1, 1), f"{name}.bn0"))
                y = self.conv(y, f"{name}.depthwise_conv", kernel, stride, depthwise=True)
                y = relu6(self.norm(y, f"{name}.bn1"))
                y = self.norm(self.conv(y, f"{name}.project_conv", 1, 1), f"{name}.bn2")
                x = x + y if stride == 1 and x.shape[-1] == width else y
                number += 1
        x = relu6(self.norm(self.conv(x, "backbone.conv_head", 1, 1), "backbone.bn1"))
        return tf.reshape(x, (x.shape[0], -1, x.shape[3]))

    def encode(self, features: NDArray[np.float32]) -> Any:
        return self.dense(self.tf.constant(features, self.dtype), "encoder.dense", relu=True)

    def step(self, token: NDArray[np.int64], features: Any, hidden: Any) -> tuple[Any, ...]:
        """Logits (B, V), new state (B, 1024), context (B, 512), weights (B, 49, 1)."""
        tf, a = self.tf, "decoder.attention."
        query = tf.expand_dims(hidden, 1)
        seen = tf.nn.tanh(self.dense(features, a + "w1") + self.dense(query, a + "w2"))
        weights = tf.nn.softmax(self.dense(seen, a + "v"), axis=1)
        context = tf.reduce_sum(weights * features, axis=1)

        table = self.w["decoder.embedding.weight"]
        x = self.layer("embedding", lambda: self.layers.Embedding(*table.shape), (1,), table)(
            token[:, None]
        )
        x = tf.concat([tf.expand_dims(context, 1), x], axis=-1)  # (B, 1, 512 + 512)
        gru = self.layer(
            "gru",
            lambda: self.layers.GRU(
                hidden.shape[1],
                return_sequences=True,
                return_state=True,
                recurrent_initializer="glorot_uniform",
            ),
            x.shape[1:],
            self.w["decoder.gru.kernel"].T,
            self.w["decoder.gru.recurrent"].T,
            self.w["decoder.gru.bias"],
        )
        output, state = gru(x, initial_state=hidden)
        x = self.dense(output, "decoder.dense")
        x = self.dense(tf.reshape(x, (-1, x.shape[2])), "decoder.out")
        return x, state, context, weights


def keras_answers(weights: Arrays) -> tuple[Arrays, Arrays]:
    """What Keras makes of the seeded inputs, whole, and its gradients by weight's name."""
    picture, features = inputs()
    # fifty layers round to some 1e-5 in single precision, so the backbone is compared in double
    found: Arrays = {"features": KerasReader(weights, "float64").backbone(picture).numpy()}
    reader = KerasReader(weights)
    tf = reader.tf
    criterion = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="none")
    with tf.GradientTape() as tape:
        encoded = reader.encode(features)
        hidden = tf.zeros((len(TOKENS), 1024))
        total, count = 0.0, 0.0
        steps = []
        for t in range(TOKENS.shape[1] - 1):
            logits, hidden, context, attention = reader.step(TOKENS[:, t], encoded, hidden)
            mask = tf.cast(TOKENS[:, t + 1] != 0, tf.float32)
            total += tf.reduce_sum(criterion(TOKENS[:, t + 1], logits) * mask)
            count += tf.reduce_sum(mask)
            steps.append((logits, hidden, context, attention))
        loss = total / count
    found["encoded"] = encoded.numpy()
    for k, name in enumerate(("logits", "state", "context", "weights")):
        found[name] = np.stack([s[k].numpy() for s in steps], 1)  # (B, T, ..)
    found["loss"] = np.array(loss.numpy())
    names = ["encoder.dense", *(f"decoder.attention.{k}" for k in ("w1", "w2", "v"))]
    wanted = {n + ".weight": reader.made[n].trainable_weights[0] for n in names}
    for k, n in enumerate(("kernel", "recurrent", "bias")):
        wanted["decoder.gru." + n] = reader.made["gru"].trainable_weights[k]
    gradients = tape.gradient(loss, list(wanted.values()))
    slopes = {
        n: g.numpy() if n.endswith("bias") else g.numpy().T
        for n, g in zip(wanted, gradients, strict=True)
    }
    return found, slopes


# --- PyTorch --------------------------------------------------------------------------------------


def torch_answers(weights: Arrays) -> tuple[Arrays, Arrays]:
    """What `i2s` makes of the same."""
    model = I2S().eval()
    state = {k: torch.from_numpy(v) for k, v in weights.items()}
    model.load_state_dict(state, strict=False)  # but for the batch norms' counters
    picture, features = map(torch.from_numpy, inputs())
    tokens = torch.from_numpy(TOKENS)
    with torch.no_grad():
        found: Arrays = {"features": model.backbone.double()(picture).numpy()}
    encoded = model.encoder(features)  # (B, 49, 512)
    keys = model.decoder.keys(encoded)
    hidden = model.decoder.reset_state(encoded)
    states, contexts, looks = [], [], []
    for token in tokens[:, :-1].unbind(1):
        hidden, context, attention = model.decoder.step(token, encoded, keys, hidden)
        states.append(hidden)
        contexts.append(context)
        looks.append(attention)
    logits = model.decoder.words(torch.stack(states, 1))
    loss = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), ignore_index=0)
    loss.backward()
    found |= {"encoded": encoded.detach().numpy(), "logits": logits.detach().numpy()}
    for name, parts in (("state", states), ("context", contexts), ("weights", looks)):
        found[name] = torch.stack(parts, 1).detach().numpy()
    found["loss"] = np.array(loss.item(), np.float32)
    slopes = {n: p.grad.numpy() for n, p in model.named_parameters() if p.grad is not None}
    return found, slopes


def shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of all weights of `i2s`."""
    state = I2S().state_dict()
    return {k: tuple(v.shape) for k, v in state.items() if v.ndim}


def small(found: Arrays) -> Arrays:
    """The part of the answers that the golden file keeps."""
    kept = {name: np.asarray(answer, np.float32) for name, answer in found.items()}
    for name in ("features", "encoded"):
        kept[name] = kept[name][..., PICKED]
    for name in ("context", "state"):
        kept[name] = kept[name][:, :3]
    return kept


def imagenet(dtype: str) -> float:
    """Largest difference of the features under the ImageNet weights, on a drawn picture.

    In single precision it is the rounding of some fifty layers; in double it must vanish.
    """
    backbone = Backbone().eval().to(torch.float64 if dtype == "float64" else torch.float32)
    backbone.load_imagenet()
    state = {f"backbone.{k}": v.numpy() for k, v in backbone.state_dict().items()}
    grey, _ = canvas(load(Path(__file__).parents[1] / "examples" / "caffeine.png").ink)
    picture = np.broadcast_to(grey, (1, 3, 224, 224)).astype(dtype)
    with torch.no_grad():
        ours = backbone(torch.from_numpy(picture))
    theirs = KerasReader(state, dtype).backbone(picture).numpy()
    apart = float(abs(ours.numpy() - theirs).max())
    print(f"   {dtype:10s} {theirs.shape!s:16s} {apart:.1e}   (largest {theirs.max():.2f})")
    return apart


def main() -> int:
    """Print the table; 1 if any difference is over the limit."""
    parser = argparse.ArgumentParser(description="i2s against Keras")
    parser.add_argument("--write", type=Path, help="golden file to write")
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    weights = seeded(shapes())
    theirs, their_slopes = keras_answers(weights)
    ours, our_slopes = torch_answers(weights)
    worst = 0.0
    print("largest difference from Keras, seeded weights (float32; features float64)")
    for name, answer in theirs.items():
        apart = float(abs(ours[name] - answer).max())
        worst = max(worst, apart)
        print(f"   {name:10s} {answer.shape!s:16s} {apart:.1e}   (largest {abs(answer).max():.2f})")
    print("gradients of the loss")
    for name, answer in their_slopes.items():
        apart = float(abs(our_slopes[name] - answer).max())
        worst = max(worst, apart)
        print(f"   {name:32s} {apart:.1e}   (largest {abs(answer).max():.1e})")
    if options.write:
        options.write.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(options.write, **small(theirs))
    print("features under the ImageNet weights")
    imagenet("float32")
    worst = max(worst, imagenet("float64"))
    print("within" if worst < LIMIT else "over", LIMIT)
    return int(worst >= LIMIT)


if __name__ == "__main__":
    sys.exit(main())
