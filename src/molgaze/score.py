"""A benchmark table -> accuracy by protocol, speed, and a page of what went wrong."""

from __future__ import annotations

import csv
import html
import io
import math
import os
import statistics
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from PIL import Image, ImageDraw
from rdkit import Chem, DataStructs, rdBase
from rdkit.Chem import rdFingerprintGenerator, rdMolDescriptors

from . import refusals
from .files import whole
from .picture import PictureError, load
from .reading import Reading, draw


class Row(NamedTuple):
    """One picture of a benchmark and its answer."""

    picture: Path
    smiles: str
    condition: str | None = None
    note: str = ""
    """How the answer is compared: ``flat`` without stereo; ``dummy any label`` where any label or
    number of a dummy atom is right.
    """


#: What a reader may give back for one picture.
Answer: TypeAlias = "Reading | str | None"


class TableError(ValueError):
    """A benchmark table that cannot be scored; the text says which file, line and why."""


def table(path: str | os.PathLike[str]) -> list[Row]:
    """Read a CSV table with the columns ``file``, ``smiles`` and, if there are any, ``condition``
    and ``note`` (see :class:`Row`).

    Args:
        path: the table; pictures are looked for relative to its folder.

    Raises:
        TableError: no such table, a column or picture missing, an answer that is no molecule.
    """
    source = Path(path)
    rows: list[Row] = []
    try:
        with open(source, newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines)
            missing = {"file", "smiles"} - set(reader.fieldnames or ())
            if missing:
                raise TableError(f"{source}: no column {' and '.join(sorted(missing))}")
            for record in reader:
                where = f"{source}, line {reader.line_num}"
                name, smiles = record["file"], record["smiles"]
                if not name or not smiles:
                    raise TableError(f"{where}: file or smiles is empty")
                picture = source.parent / name
                if not picture.is_file():
                    raise TableError(f"{where}: no picture {picture}")
                if _mol(smiles) is None:
                    raise TableError(f"{where}: RDKit does not read the answer {smiles!r}")
                condition, note = record.get("condition") or None, record.get("note") or ""
                rows.append(Row(picture, smiles, condition, note))
    except FileNotFoundError as err:
        raise TableError(f"{source}: {refusals.MISSING}") from err
    except (OSError, UnicodeDecodeError, csv.Error) as err:
        raise TableError(f"{source}: {err}") from err
    if not rows:
        raise TableError(f"{source}: no rows")
    return rows


@dataclass(frozen=True, slots=True)
class Result:
    """One picture: what was expected, what came, and how they differ.

    ``exact``: canonical SMILES equal with full stereo. ``tetrahedral``: equal once double bonds
    lose theirs. ``flat``: equal without any. ``tanimoto``, ``morgan``: similarity of RDKit and
    Morgan (radius 2) fingerprints, 0 for no molecule. ``kind``: "" if exact, else of the miss.
    """

    file: Path
    expected: str
    got: str | None
    condition: str | None
    ms: float
    valid: bool
    exact: bool
    tetrahedral: bool
    flat: bool
    tanimoto: float
    morgan: float
    kind: str
    error: str | None = None
    reading: Reading | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """Means over pictures (shares from 0 to 1) and the median time of one picture in ms."""

    pictures: int
    exact: float
    tetrahedral: float
    flat: float
    tanimoto: float
    morgan: float
    valid: float
    ms: float


@dataclass(frozen=True, slots=True)
class Score:
    """Figures over all pictures, by condition, and as the mean of the conditions' figures."""

    total: Figures
    conditions: dict[str, Figures]
    mean_of_conditions: Figures | None
    results: tuple[Result, ...]

    def to_dict(self) -> dict[str, Any]:
        """Figures and kinds of misses, ready for JSON."""
        return {
            "total": asdict(self.total),
            "conditions": {name: asdict(f) for name, f in self.conditions.items()},
            "mean_of_conditions": self.mean_of_conditions and asdict(self.mean_of_conditions),
            "misses": kinds(self.results),
            "rdkit": rdBase.rdkitVersion,
        }


def score(
    rows: Sequence[Row | tuple[Path | str, str, str | None]],
    read: Callable[[Path], Answer],
    progress: Callable[[Result], None] | None = None,
) -> Score:
    """Read every picture and compare.

    Args:
        rows: as :func:`table` gives them, or (picture, expected SMILES, condition or None).
        read: picture -> reading or SMILES. An OSError, ValueError or RuntimeError that it raises
            counts as no reading; any other is a fault in the code and goes through.
        progress: called after each picture.

    Raises:
        ValueError: no rows, or an expected SMILES that is no molecule.
    """
    if not rows:
        raise ValueError("nothing to score")
    results: list[Result] = []
    for row in rows:
        name, expected, condition = row[:3]
        note = row.note if isinstance(row, Row) else ""
        path = Path(name)
        error: str | None = None
        answer: Answer = None
        begin = time.perf_counter()
        try:
            answer = read(path)
        except (OSError, ValueError, RuntimeError) as err:
            error = f"{type(err).__name__}: {err}"
        ms = (time.perf_counter() - begin) * 1000
        results.append(
            compare(path, expected, answer, condition=condition, note=note, ms=ms, error=error)
        )
        if progress is not None:
            progress(results[-1])
    groups: dict[str, list[Result]] = {}
    for result in results:
        if result.condition is not None:
            groups.setdefault(result.condition, []).append(result)
    conditions = {name: _figures(group) for name, group in sorted(groups.items())}
    return Score(_figures(results), conditions, _mean(list(conditions.values())), tuple(results))


def compare(
    file: Path,
    expected: str,
    answer: Answer,
    *,
    condition: str | None = None,
    note: str = "",
    ms: float = 0.0,
    error: str | None = None,
) -> Result:
    """Compare one answer, whole, with what was expected; ``note`` is that of a :class:`Row`.

    Raises:
        ValueError: the expected SMILES is no molecule.
    """
    want = _mol(expected)
    if want is None:
        raise ValueError(f"{file}: RDKit does not read the answer {expected!r}")
    reading = answer if isinstance(answer, Reading) else None
    text = answer.smiles if isinstance(answer, Reading) else answer
    got = _mol(text) if text else None
    if reading is not None and reading.error and error is None:
        error = reading.error
    if got is None:
        return Result(
            file, Chem.MolToSmiles(want), text or None, condition, ms, False, False, False, False,
            0.0, 0.0, "no reading" if not text else "invalid SMILES", error, reading,
        )  # fmt: skip
    if "dummy" in note:
        want, got = _unlabelled(want), _unlabelled(got)
    exact = Chem.MolToSmiles(want) == Chem.MolToSmiles(got)
    exact = exact or ("flat" in note and _flat(want) == _flat(got))
    return Result(
        file=file,
        expected=Chem.MolToSmiles(want),
        got=Chem.MolToSmiles(got),
        condition=condition,
        ms=ms,
        valid=True,
        exact=exact,
        tetrahedral=exact or _without_bond_stereo(want) == _without_bond_stereo(got),
        flat=exact or _flat(want) == _flat(got),
        tanimoto=1.0 if exact else _similarity(_RDKIT, want, got),
        morgan=1.0 if exact else _similarity(_MORGAN, want, got),
        kind="" if exact else _kind(want, got, reading),
        error=error,
        reading=reading,
    )


_RDKIT = rdFingerprintGenerator.GetRDKitFPGenerator()
_MORGAN = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)


@lru_cache(maxsize=4096)
def _canonical(smiles: str) -> str | None:
    # RDKit takes "" for a molecule, and what follows a blank for a name.
    if not smiles or any(c.isspace() for c in smiles):
        return None
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(smiles)
        if mol is None or not mol.GetNumAtoms():
            return None
        # Map numbers are no part of a molecule; a second pass makes RDKit's SMILES stable.
        for atom in mol.GetAtoms():
            atom.SetAtomMapNum(0)
        first = Chem.MolToSmiles(mol)
        again = Chem.MolFromSmiles(first)
        return first if again is None else str(Chem.MolToSmiles(again))


def _mol(smiles: str) -> Chem.Mol | None:
    text = _canonical(smiles)
    with rdBase.BlockLogs():
        return None if text is None else Chem.MolFromSmiles(text)


def _flat(mol: Chem.Mol) -> str:
    text = str(Chem.MolToSmiles(mol, isomericSmiles=False))
    return _canonical(text) or text


def _unlabelled(mol: Chem.Mol) -> Chem.Mol:
    """With dummy atoms that have no number."""
    copy = Chem.Mol(mol)
    for atom in copy.GetAtoms():
        if atom.GetAtomicNum() == 0:
            atom.SetIsotope(0)
    return _mol(Chem.MolToSmiles(copy)) or copy


def _without_bond_stereo(mol: Chem.Mol) -> str:
    copy = Chem.RWMol(mol)
    for bond in copy.GetBonds():
        bond.SetStereo(Chem.BondStereo.STEREONONE)
        bond.SetBondDir(Chem.BondDir.NONE)
    # The second pass drops centres that differed only by a neighbour's cis or trans.
    text = str(Chem.MolToSmiles(copy))
    return _canonical(text) or text


def _similarity(generator: Any, a: Chem.Mol, b: Chem.Mol) -> float:
    with rdBase.BlockLogs():
        return float(
            DataStructs.TanimotoSimilarity(generator.GetFingerprint(a), generator.GetFingerprint(b))
        )


def _figures(results: Sequence[Result]) -> Figures:
    def mean(name: str) -> float:
        return statistics.fmean(float(getattr(r, name)) for r in results)

    return Figures(
        pictures=len(results),
        exact=mean("exact"),
        tetrahedral=mean("tetrahedral"),
        flat=mean("flat"),
        tanimoto=mean("tanimoto"),
        morgan=mean("morgan"),
        valid=mean("valid"),
        ms=statistics.median(r.ms for r in results),
    )


def report(scores: Mapping[str, Score]) -> Iterator[str]:
    """Lines of a table: each score in all, then by condition."""
    rows: list[tuple[str, Figures]] = []
    for name, scored in scores.items():
        rows.append((Path(name).stem, scored.total))
        for condition, figures in scored.conditions.items():
            plain = "".join(c if c.isprintable() else "?" for c in condition)
            rows.append(("  " + plain, figures))
        if scored.mean_of_conditions is not None and len(scored.conditions) > 1:
            rows.append(("  mean of conditions", scored.mean_of_conditions))
    wide = max(len(name) for name, _ in rows)
    yield f"{'':{wide}}  pictures   exact  tetrahedral  no stereo  Tanimoto   valid  median ms"
    for name, f in rows:
        yield (
            f"{name:{wide}}  {f.pictures:8}  {f.exact:6.1%}  {f.tetrahedral:11.1%}  {f.flat:9.1%}"
            f"  {f.tanimoto:8.3f}  {f.valid:6.1%}  {f.ms:9.0f}"
        )


def _mean(figures: Sequence[Figures]) -> Figures | None:
    if not figures:
        return None
    names = ("exact", "tetrahedral", "flat", "tanimoto", "morgan", "valid", "ms")
    means = {name: statistics.fmean(getattr(f, name) for f in figures) for name in names}
    return Figures(pictures=sum(f.pictures for f in figures), **means)


# ---- misses ---------------------------------------------------------------------------------


def _kind(want: Chem.Mol, got: Chem.Mol, reading: Reading | None) -> str:
    """The first difference that explains a miss, from the smallest change to the largest."""
    if _flat(want) == _flat(got):
        if _isotopes(want) != _isotopes(got):
            return "isotope"
        if _without_bond_stereo(want) == _without_bond_stereo(got):
            return "double-bond stereo"
        return "tetrahedral stereo"
    left, right = Counter(_flat(want).split(".")), Counter(_flat(got).split("."))
    if left > right or right > left:
        return "fragment missing" if left > right else "fragment extra"
    if any(a.GetAtomicNum() == 0 for a in got.GetAtoms()):
        return "label unknown"
    if _skeleton(want, elements=True) == _skeleton(got, elements=True):
        if _charges(want) != _charges(got):
            return "charge"
        if rdMolDescriptors.CalcMolFormula(want) == rdMolDescriptors.CalcMolFormula(got):
            return "tautomer"
        return "bond order"
    if _skeleton(want, elements=False) == _skeleton(got, elements=False):
        return "element"
    if reading is not None and "[" in reading.tokens:
        return "label"
    atoms = got.GetNumHeavyAtoms() - want.GetNumHeavyAtoms()
    if atoms:
        return "atoms missing" if atoms < 0 else "atoms extra"
    if rdMolDescriptors.CalcNumRings(want) != rdMolDescriptors.CalcNumRings(got):
        return "ring"
    return "connection"


def _skeleton(mol: Chem.Mol, elements: bool) -> str:
    """SMILES of the bare graph: single bonds, no charges, hydrogens or isotopes."""
    bare = Chem.RWMol()
    for atom in mol.GetAtoms():
        new = Chem.Atom(atom.GetAtomicNum() if elements else 6)
        new.SetNoImplicit(True)
        bare.AddAtom(new)
    for bond in mol.GetBonds():
        bare.AddBond(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), Chem.BondType.SINGLE)
    bare.UpdatePropertyCache(strict=False)
    return str(Chem.MolToSmiles(bare))


def _charges(mol: Chem.Mol) -> list[tuple[int, int]]:
    return sorted(
        (a.GetAtomicNum(), a.GetFormalCharge()) for a in mol.GetAtoms() if a.GetFormalCharge()
    )


def _isotopes(mol: Chem.Mol) -> list[tuple[int, int]]:
    return sorted((a.GetAtomicNum(), a.GetIsotope()) for a in mol.GetAtoms() if a.GetIsotope())


def misses(results: Iterable[Result], kind: str | None = None) -> list[Result]:
    """The results that are not exact, of one kind if given, commonest kind first."""
    wrong = [r for r in results if not r.exact]
    order = list(kinds(wrong))
    return sorted(
        (r for r in wrong if kind in (None, r.kind)),
        key=lambda r: (order.index(r.kind), -r.tanimoto, str(r.file)),
    )


def kinds(results: Iterable[Result]) -> dict[str, int]:
    """Kind of miss -> how many, commonest first."""
    return dict(Counter(r.kind for r in results if not r.exact).most_common())


# ---- the page of misses ---------------------------------------------------------------------

_STYLE = """
body{font:14px/1.4 system-ui,sans-serif;margin:2em;color:#222;background:#fff}
table{border-collapse:collapse}td,th{padding:.4em .7em;vertical-align:top;text-align:left}
.miss{border-top:1px solid #ccc;padding:1em 0}.side{display:flex;flex-wrap:wrap;gap:1em}
figure{margin:0}figcaption{color:#666}img{max-width:420px;background:#fff;border:1px solid #eee}
code{overflow-wrap:anywhere}
"""


def write_misses(
    scored: Score,
    path: str | os.PathLike[str],
    limit: int | None = 300,
    title: str = "Misses",
) -> int:
    """Write one HTML page, complete in itself: each miss with its picture, the gaze on it, and
    the drawings of the expected and of the read molecule.

    Args:
        scored: as from :func:`score`.
        path: the page, replaced if it exists.
        limit: at most so many misses, commonest kinds first; None for all.
        title: of the page.

    Returns:
        The number of misses on the page.
    """
    wrong = misses(scored.results)
    shown = wrong[:limit]
    total = scored.total
    figures = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{f.pictures}</td><td>{f.exact:.1%}</td>"
        f"<td>{f.tetrahedral:.1%}</td><td>{f.flat:.1%}</td><td>{f.tanimoto:.3f}</td>"
        f"<td>{f.valid:.1%}</td><td>{f.ms:.0f}</td></tr>"
        for name, f in [("all", total), *scored.conditions.items()]
    )
    counts = "".join(
        f"<tr><th>{html.escape(kind)}</th><td>{n}</td><td>{n / total.pictures:.1%}</td></tr>"
        for kind, n in kinds(wrong).items()
    )
    with (
        whole(path) as draft,
        open(draft, "x", encoding="utf-8", errors="backslashreplace") as page,
    ):
        page.write(
            f'<!doctype html><html lang="en"><meta charset="utf-8">'
            f"<title>{html.escape(title)}</title><style>{_STYLE}</style>"
            f"<h1>{html.escape(title)}</h1>"
            "<table><tr><th></th><th>pictures</th><th>exact</th><th>tetrahedral</th>"
            "<th>no stereo</th><th>Tanimoto</th><th>valid</th><th>ms</th></tr>"
            f"{figures}</table><h2>Kinds</h2><table>{counts}</table>"
            f"<h2>{len(shown)} of {len(wrong)} misses</h2>"
        )
        for result in shown:
            page.write(_miss(result))
        page.write("</html>\n")
    return len(shown)


def _miss(result: Result) -> str:
    reading = result.reading
    got = reading.mol if reading is not None and reading.molfile else _mol(result.got or "")
    sides = [
        _figure(_gaze(result), "picture, gaze from blue to red"),
        _figure(draw(_mol(result.expected), (300, 400)), "expected", result.expected),
        _figure(draw(got, (300, 400)), "got", result.got or result.error or "nothing"),
    ]
    notes = [result.kind, str(result.file), result.condition or ""]
    if reading is not None:
        notes += [f"confidence {reading.confidence:.2f}", *reading.warnings]
    notes.append(f"Tanimoto {result.tanimoto:.2f}")
    line = " &middot; ".join(html.escape(note) for note in notes if note)
    walk = html.escape(" ".join(reading.tokens)) if reading is not None else ""
    return (
        f'<div class="miss"><p>{line}</p><div class="side">{"".join(sides)}</div>'
        f"<p><code>{walk}</code></p></div>"
    )


def _figure(png: bytes | None, caption: str, code: str = "") -> str:
    image = (
        f'<img alt="{html.escape(caption)}" src="data:image/png;base64,{b64encode(png).decode()}">'
        if png
        else "<p>none</p>"
    )
    return (
        f"<figure>{image}<figcaption>{html.escape(caption)} <code>{html.escape(code)}</code>"
        "</figcaption></figure>"
    )


def _gaze(result: Result) -> bytes | None:
    """The ink as a PNG of 640 pixels a side at most, with a ring at the place of each token."""
    page = result.reading.page if result.reading is not None else None
    try:
        ink = load(result.file, page or 1).ink
    except PictureError:
        return None
    canvas = Image.fromarray(255 - ink).convert("RGB")
    shrink = min(1.0, 640 / max(canvas.size))
    if shrink < 1:
        size = (max(1, round(canvas.width * shrink)), max(1, round(canvas.height * shrink)))
        canvas = canvas.resize(size, Image.Resampling.LANCZOS)
    places = result.reading.places if result.reading is not None else ()
    pen = ImageDraw.Draw(canvas)
    radius = max(2.0, 0.2 * shrink * ((result.reading.scale if result.reading else None) or 20.0))
    for i, (x, y) in enumerate(places):
        if not (math.isfinite(x) and math.isfinite(y)):
            continue
        tone = i / max(1, len(places) - 1)
        colour = (int(255 * tone), 40, int(255 * (1 - tone)))
        u, v = x * shrink - 0.5, y * shrink - 0.5  # Pillow counts from the first pixel's centre
        pen.ellipse((u - radius, v - radius, u + radius, v + radius), outline=colour)
    out = io.BytesIO()
    canvas.save(out, "PNG")
    return out.getvalue()
