"""Lines of text as a PDF: one typeface of fixed width that every reader has, so that nothing is embedded or fetched.

It can print what Windows' Western letters can (cp1252); who prints a name asks `printable` first. Not here: what the
lines say (`pack`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

WIDTH, HEIGHT, MARGIN = 792, 612, 36
"""US Letter lying down, in points."""
SIZE, LEADING = 8.5, 11.0
COLUMNS = int((WIDTH - 2 * MARGIN) / (SIZE * 0.6))
"""Characters in a line: each is 0.6 of the size wide."""
ROWS = int((HEIGHT - 2 * MARGIN) / LEADING)
_ALIKE = str.maketrans("łŁđĐħĦıŧŦ", "lLdDhHitT")


def printable(text: str) -> tuple[str, bool]:
    """The text in letters that can be printed, and whether nothing of it was changed; empty where it has none."""
    text = unicodedata.normalize("NFC", text)
    if _can_print(text):
        return text, True
    plain = "".join(
        letter if _can_print(letter) else "".join(c for c in unicodedata.normalize("NFKD", letter) if _can_print(c))
        for letter in text.translate(_ALIKE)
    )
    letters = sum(not unicodedata.combining(c) for c in text)
    return (plain, False) if len(plain) >= letters else ("", False)


def _can_print(text: str) -> bool:
    try:
        return bool(text.encode("cp1252")) and text.isprintable()
    except UnicodeEncodeError:
        return False


def make_pdf(pages: Sequence[Sequence[str]]) -> bytes:
    """A document of these pages, each a list of at most ROWS lines of at most COLUMNS characters. A line that begins
    with `# ` is printed bold, without that."""
    fonts = [
        f"<< /Type /Font /Subtype /Type1 /BaseFont /{name} /Encoding /WinAnsiEncoding >>".encode()
        for name in ("Courier", "Courier-Bold")
    ]
    kids = " ".join(f"{5 + 2 * n} 0 R" for n in range(len(pages)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
        *fonts,
    ]
    for n, lines in enumerate(pages):
        content = _content(lines)
        objects += [
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {WIDTH} {HEIGHT}] /Resources"
            f" << /Font << /F1 3 0 R /F2 4 0 R >> >> /Contents {6 + 2 * n} 0 R >>".encode(),
            b"<< /Length %d >>\nstream\n%b\nendstream" % (len(content), content),
        ]
    document, places = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"), []
    for n, body in enumerate(objects, 1):
        places.append(len(document))
        document += b"%d 0 obj\n%b\nendobj\n" % (n, body)
    start = len(document)
    document += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    document += b"".join(b"%010d 00000 n \n" % place for place in places)
    document += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(document)


def _content(lines: Sequence[str]) -> bytes:
    parts = [b"BT", f"{LEADING} TL {MARGIN} {HEIGHT - MARGIN} Td".encode()]
    for line in lines:
        font = b"F2" if line.startswith("# ") else b"F1"
        text = line.removeprefix("# ").encode("cp1252", "replace")
        for mark in (b"\\", b"(", b")"):
            text = text.replace(mark, b"\\" + mark)
        parts.append(b"/%b %b Tf (%b) Tj T*" % (font, str(SIZE).encode(), text))
    return b"\n".join([*parts, b"ET"])
