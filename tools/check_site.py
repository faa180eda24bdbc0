"""Check that a built site needs no network: scripts, styles, fonts and images are its own files.

python tools/check_site.py build/docs
"""

import re
import sys
from pathlib import Path

REMOTE = r"(?:https?:)?//"
LOADED = {
    ".html": rf"""<(?:script|img|source|iframe)\b[^>]*\bsrc=["'](?P<html>{REMOTE}[^"']*)"""
    rf"""|<link\b(?=[^>]*\brel=["'](?:stylesheet|preload|icon))[^>]*\bhref=["'](?P<link>{REMOTE}[^"']*)""",
    ".css": rf"""url\(\s*["']?(?P<css>{REMOTE}[^"')]*)|@import\s+["'](?P<import>{REMOTE}[^"']*)""",
}


def main() -> None:
    """Print what comes from elsewhere; exit with 1 if anything does."""
    folder = Path(sys.argv[1])
    pages = sorted(folder.rglob("*.html"))
    if not pages:
        sys.exit(f"{folder}: no pages there; build them with `make docs`.")
    addresses = find_remote(folder)
    for path, address in addresses:
        print(f"{path}: loads {address}")
    if addresses:
        sys.exit(1)
    print(f"{len(pages)} pages in {folder}, all of them complete without a network.")


def find_remote(folder: Path) -> list[tuple[Path, str]]:
    """Find what the pages of a site load from other hosts; links that a reader may follow are fine.

    Args:
        folder: the built site.

    Returns:
        File and address of each.
    """
    addresses = []
    for path in sorted(folder.rglob("*")):
        if pattern := LOADED.get(path.suffix):
            for match in re.finditer(pattern, path.read_text(encoding="utf-8")):
                addresses.append((path, next(filter(None, match.groups()))))
    return addresses


if __name__ == "__main__":
    main()
