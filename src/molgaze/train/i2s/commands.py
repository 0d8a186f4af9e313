"""What the commands of ``molgaze i2s`` do."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch

from ...files import whole
from ...picture import PictureError
from ...score import report as table_report
from ...score import score as score_table
from ...score import table
from ..fit import load, weights_of
from .caption import fault
from .caption import read as read_all
from .feed import held_out
from .fit import fit, settings_of
from .model import I2S, load_model, save_weights
from .score import judge, report
from .strip import strip


def train(args: argparse.Namespace) -> int:
    """``molgaze i2s train``."""
    print(fit(settings_of(args)))
    return 0


def read(args: argparse.Namespace) -> int:
    """``molgaze i2s read``: one picture, its SMILES; many, path, SMILES and confidence."""
    model = _model(args)
    code = 0
    for file, found in zip(args.files, read_all(model, args.files), strict=True):
        reason = str(found) if isinstance(found, PictureError) else fault(found[1])
        if isinstance(found, PictureError) or reason:
            code = 1
            print(f"molgaze: {file}: {reason.removeprefix(f'{file}: ')}", file=sys.stderr)
            continue
        caption = found[1]
        alone = len(args.files) == 1
        print(caption.smiles if alone else f"{file}\t{caption.smiles}\t{caption.confidence:.3f}")
    return code


def show(args: argparse.Namespace) -> int:
    """``molgaze i2s show``: one PNG."""
    (found,) = read_all(_model(args), [args.file])
    if isinstance(found, PictureError):
        raise found
    picture, caption = found
    with whole(args.output) as draft, draft.open("xb") as file:
        strip(picture, caption).save(file, "PNG")
    if reason := fault(caption):
        print(f"molgaze: {args.file}: {reason}", file=sys.stderr)
        return 1
    print(caption.smiles)
    return 0


def score(args: argparse.Namespace) -> int:
    """``molgaze i2s score``: held-out drawings by length class, and tables of pictures."""
    if not args.tables and not args.data:
        print("molgaze: give --data, the files of SMILES, or a TABLE.csv", file=sys.stderr)
        return 2
    if args.pictures < 1:
        print("molgaze: --pictures: at least 1", file=sys.stderr)
        return 2
    tables = {name: table(name) for name in args.tables}
    model = _model(args)
    if args.data:
        model.to(args.device)
        found = {}
        for most, batches in held_out(args.data, model.size, args.pictures).items():
            found[most] = judge(model, [batch.to(args.device) for batch in batches])
        if args.json:
            print(json.dumps({most: figures.row() for most, figures in found.items()}, indent=2))
        else:
            print("\n".join(report(found)))
        model.to("cpu")

    def answer(path: Path) -> str | None:
        (found,) = read_all(model, [path])
        if isinstance(found, PictureError):
            raise found
        return found[1].smiles

    if tables:
        scores = {name: score_table(rows, answer) for name, rows in tables.items()}
        print("\n".join(table_report(scores)))
    return 0


def export(args: argparse.Namespace) -> int:
    """``molgaze i2s export``: half-precision weights and a card beside them."""
    model = load_model(args.run)
    _, metadata = load(weights_of(args.run))
    state = json.loads(metadata.get("state", "{}"))
    history = args.run / "log.jsonl" if args.run.is_dir() else args.run.parent / "log.jsonl"
    save_weights(model, args.output, state=json.dumps(state))
    with whole(args.output.with_suffix(".md")) as draft:
        draft.write_text(card(model, state, held(history), args.output), encoding="utf-8")
    print(args.output)
    return 0


def held(log: Path) -> dict[str, dict[str, float]]:
    """The last figures of held-out pictures in a run's log, by length class; empty if none are."""
    found: dict[str, dict[str, float]] = {}
    if log.is_file():
        for line in log.read_text(encoding="utf-8").splitlines():
            found = json.loads(line).get("held_out", found)
    return found


def card(
    model: I2S, state: dict[str, float], figures: dict[str, dict[str, float]], path: Path
) -> str:
    """A model card as Markdown."""
    count = sum(p.numel() for p in model.state_dict().values())
    megabytes = path.stat().st_size / 1e6
    learnt = "all of it" if model.unfreeze else "all but the backbone"
    minutes = state.get("minutes", 0.0) + state.get("cooled", 0.0)
    rows = [
        f"| {most} | {f['pictures']:.0f} | {f['exact']:.1%} | {f['tanimoto']:.3f} "
        f"| {f['valid']:.1%} | {f['near']:.3f} | {f['equal']:.3f} |"
        for most, f in figures.items()
    ]
    table = "\n".join(
        [
            "| characters up to | pictures | exact | Tanimoto | valid | attention near | equal |",
            "|---|---|---|---|---|---|---|",
            *rows,
        ]
    )
    return f"""# The weights `{path.stem}`

`{path.name}`, {count / 1e6:.1f} million numbers in half precision ({megabytes:.0f} MB), are those
of the reference reader `i2s` ({model.size.variant}), the classic image captioner for molecules.
`docs/attention.md` says what it is and how it was trained.

**What they are for.** To compare with, and to look at attention in the classic form. They read
plain drawings as RDKit makes them, of up to 70 characters of SMILES. For reading pictures of any
other kind there is `molgaze read`.

**How they were made.** By `molgaze i2s train`; of the network it trained {learnt}. The backbone
began as EfficientNet-lite0 with ImageNet weights (Apache-2.0). {state.get("drawn", 0):,} different
drawings, {state.get("seen", 0):,} in all, {minutes:,.0f} minutes.

**Figures** of the last check on held-out drawings, greedy; *attention near* is the share of the
attention within one cell of the atom that is being written, *equal* what equal weights would give.

{table}

Licence: MIT, as the code.
"""


def _model(args: argparse.Namespace) -> I2S:
    if getattr(args, "device", "cpu") == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: no CUDA device is available to PyTorch")
    return load_model(args.weights)
