"""The user's own AWS files: a block of ours in them, and nothing else touched.

    # peaker: begin shop (written by `peaker profile --write`; state in /srv/shop/.peaker)
    [profile shop]
    ...
    # peaker: end shop

Writing again replaces the block. A section of that name outside of such a block is the user's, and is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from peaker.errors import StateError
from peaker.functions.credentials import write_file


def with_block(text: str, name: str, block: str, *, about: str) -> str:
    """`text` with the block of `name` in place of the one there was, or at the end; all other bytes as they were.

    Raises:
        StateError: a section that the block holds stands elsewhere in the file.
    """
    begin, end = f"# peaker: begin {name}", f"# peaker: end {name}\n"
    ours = re.compile(rf"^{re.escape(begin)}(?: [^\n]*)?\n.*?^{re.escape(end)}", re.DOTALL | re.MULTILINE)
    rest = ours.sub("", text)
    for section in re.findall(r"^\[[^\]\n]+\]", block, re.MULTILINE):
        if re.search(rf"^\s*{_section_pattern(section)}", rest, re.MULTILINE):
            raise StateError(
                f"it holds a section {section} that was not written by Peaker.",
                remedy="Choose another name with --name; your own section stays as it is.",
            )
    fresh = f"{begin} ({about})\n{block}{end}"
    if ours.search(text):
        return ours.sub(lambda _: fresh, text, count=1)
    gap = "" if not text or text.endswith("\n\n") else "\n" if text.endswith("\n") else "\n\n"
    return text + gap + fresh


def _section_pattern(section: str) -> str:
    """However it is spaced: `[ profile  shop ]` names the same section."""
    return r"\[\s*" + r"\s+".join(re.escape(word) for word in section.strip("[]").split()) + r"\s*\]"


def write_blocks(blocks: Mapping[Path, str], name: str, *, about: str) -> None:
    """Put a block into each file, or into none: all are looked at before the first is written.

    A file that is not there is made (0600); a link stays a link.

    Raises:
        StateError: one cannot be read or written, or holds a section of that name that is not ours.
    """
    try:
        changed = {path: _changed(path.expanduser().resolve(), name, block, about) for path, block in blocks.items()}
        for real, text, mode in changed.values():
            real.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_file(real, text, mode)
    except (OSError, UnicodeDecodeError) as error:
        raise StateError(f"the AWS files cannot be changed: {error}.") from error


def _changed(real: Path, name: str, block: str, about: str) -> tuple[Path, str, int]:
    """The file, what it is to hold, and its mode."""
    text, mode = "", 0o600
    if real.exists():
        text, mode = real.read_text(encoding="utf-8"), real.stat().st_mode & 0o777
    try:
        return real, with_block(text, name, block, about=about), mode
    except StateError as error:
        raise StateError(error.what, where=str(real), remedy=error.remedy) from error
