"""Why a source is no picture and what to do instead: a sentence for each kind, said everywhere."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

LONGEST_NAME = 200  # characters of a name that is no file; longer ones are cut in messages

PDF = (
    "is a PDF, which is read page by page: `molgaze read` and `molgaze batch` do it if its name "
    "ends in .pdf, and in Python Reader.find does"
)
SVG = (
    "is an SVG drawing, and what draws it is not installed: pip install 'molgaze[formats]', or "
    "save it as PNG first, for example with Inkscape"
)
HEIC = (
    "is a HEIC or AVIF photograph, and what opens it is not installed: pip install "
    "'molgaze[formats]', or save it as JPEG or PNG first, in the program that shows it"
)
ADDRESS = "is an address: MolGaze fetches nothing by network; save the picture and give its path"
ENCODED = "is text that encodes a picture, no path: decode it (base64.b64decode) and give the bytes"
STRING = "is a SMILES or an InChI, no path: MolGaze reads pictures and needs the path of one"
MISSING = "there is no such file: check its name and the current folder"
ARCHIVE = (
    "is a ZIP archive or an Office document: `molgaze read` and `molgaze batch` read pictures in "
    "a file whose name ends in .zip; save the pictures of a document one by one"
)
TARBALL = (
    "is an archive: `molgaze read` and `molgaze batch` read the pictures in it when its name ends "
    "in .tar, .tar.gz, .tar.bz2 or .tar.xz"
)
MOLECULE = "is a file of molecules already, no picture: RDKit or Open Babel read it"
WEB_PAGE = "is a web page, no picture: save the picture itself, not the page that shows it"
POSTSCRIPT = "is PostScript: save it as PNG first, for example with `gs -sDEVICE=pnggray -r300`"
METAFILE = "is a Windows metafile: save it as PNG first, in the program that drew it"

_BYTES: tuple[tuple[Callable[[bytes], object], str], ...] = (
    (lambda head: b"%PDF-" in head[:1024], PDF),
    (lambda head: head[4:8] == b"ftyp" and re.match(b"hei|hev|mif1|msf1|avi", head[8:12]), HEIC),
    (lambda head: head.startswith(b"PK\3\4"), ARCHIVE),
    (lambda head: head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ")), TARBALL),
    (lambda head: head[257:262] == b"ustar", TARBALL),
    (lambda head: head.startswith((b"%!PS", b"\xc5\xd0\xd3\xc6")), POSTSCRIPT),
    (lambda head: head.startswith(b"\xd7\xcd\xc6\x9a") or head[40:44] == b" EMF", METAFILE),
    (lambda head: head.startswith(b"VjCD0100"), MOLECULE),
    (lambda head: re.search(rb"V[23]000\s*$", head, re.MULTILINE), MOLECULE),
    (lambda head: re.search(rb"<(CDXML|cml|molecule)[\s>]", head), MOLECULE),
    (lambda head: re.search(rb"<(\w+:)?svg[\s/>]", head), SVG),
    (lambda head: re.search(rb"<(!doctype )?html", head, re.IGNORECASE), WEB_PAGE),
    (lambda head: head.lstrip()[:11] == b"data:image/", ENCODED),
)


def of_bytes(head: bytes) -> str | None:
    """What a file is that Pillow does not know as a picture, and what to do; None if unknown.

    Args:
        head: the first kilobyte of the file, or more.
    """
    head = head[:4096]
    return next((said for fits, said in _BYTES if fits(head)), None)


def of_name(name: str) -> str:
    """Why nothing can be opened under a name that is not there."""
    if re.match(r"[a-z][a-z0-9+.-]+://|www\.", name, re.IGNORECASE):
        return ADDRESS
    if name.startswith("data:") or re.fullmatch(r"[A-Za-z0-9+/\s]{120,}={0,2}\s*", name):
        return ENCODED
    if name.startswith("InChI=") or _is_smiles(name):
        return STRING
    return MISSING


def _is_smiles(name: str) -> bool:
    """Whether a name is a SMILES: its characters, and RDKit reads it."""
    if len(name) > 1000 or not re.fullmatch(r"[A-Za-z0-9@+\-\[\]()=#$/\\%.:*~]+", name):
        return False
    if re.search(r"\.[a-z]{3,4}$", name):  # a suffix, and no SMILES ends so
        return False
    from rdkit import Chem, rdBase  # noqa: PLC0415  only once there is a fault to explain

    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(name)
    return mol is not None and mol.GetNumAtoms() > 0


def short(name: str) -> str:
    """A name for messages: as it is, or cut if it is too long to be one."""
    if len(name) <= LONGEST_NAME or os.path.exists(name):
        return name
    return f"{name[:40]}... ({len(name):,} characters)"
