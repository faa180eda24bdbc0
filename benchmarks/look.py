"""Looks at report pages in headless Chromium, as a phone and a desktop show them, light and dark.

    python benchmarks/look.py runs/demo/report.html --pictures pictures

Checks that no script fails, nothing is wider than the page, every figure has a size and a name, and that the attention
explorer answers to the keyboard. Needs `chromium` on the path; the pictures are for people.
"""

from __future__ import annotations

import argparse
import html
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

WIDTHS = {"phone": 390, "desktop": 1280}
SCHEMES = {"light": 1, "dark": 0}  # Chromium's own numbers
SCRIPT = """
<script>window.failed = []; window.addEventListener("error", event => failed.push(event.message));</script>
"""
PROBE = """
<script>
window.addEventListener("load", () => {
  const wrong = [...failed], page = document.documentElement;
  if (page.scrollWidth > page.clientWidth) wrong.push(`the page is ${page.scrollWidth} wide in ${page.clientWidth}`);
  document.querySelectorAll("svg").forEach((svg, i) => {
    if (svg.closest("[hidden], details:not([open])")) return;
    const box = svg.getBoundingClientRect();
    if (svg.childElementCount && (box.width < 50 || box.height < 20)) wrong.push(`figure ${i} is not visible`);
    if (svg.childElementCount && !svg.getAttribute("aria-label")) wrong.push(`figure ${i} has no name`);
  });
  document.querySelectorAll("section.explorer").forEach((root, i) => {
    const maps = root.querySelector(".maps"), said = () => root.querySelector(".answer-small").textContent;
    const read = () => root.querySelector(".cell").textContent;
    const press = (key, shiftKey) => {
      maps.focus();
      maps.dispatchEvent(new KeyboardEvent("keydown", {key, shiftKey, bubbles: true}));
    };
    for (const [name, keys] of Object.entries({head: ["ArrowRight", "ArrowLeft"], layer: ["ArrowUp", "ArrowDown"]})) {
      const select = root.querySelector(`select[name=${name}]`), before = said();
      press(keys[0]);
      if (select.options.length > 1 && said() === before) wrong.push(`explorer ${i}: keys do not change the ${name}`);
      press(keys[1]);
      if (said() !== before) wrong.push(`explorer ${i}: keys do not bring the ${name} back`);
    }
    const before = read();
    press("ArrowRight", true);
    if (read() === before) wrong.push(`explorer ${i}: keys do not read a field`);
  });
  const found = document.createElement("pre");
  found.id = "found";
  found.textContent = JSON.stringify({wrong, figures: document.querySelectorAll("svg").length,
    explorers: document.querySelectorAll("section.explorer:not([hidden])").length, height: page.scrollHeight});
  document.body.append(found);
});
</script>
"""


def main() -> None:
    """Look at every page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reports", nargs="+", type=Path, help="report.html of runs or sweeps")
    parser.add_argument("--pictures", type=Path, help="folder for pictures of the pages")
    options = parser.parse_args()
    wrong = 0
    for report in options.reports:
        for device, width in WIDTHS.items():
            for scheme, number in SCHEMES.items():
                name = f"{report.resolve().parent.name}-{device}-{scheme}.png"
                found = look(report, width, number, options.pictures and options.pictures / name)
                print(f"{report}, {device}, {scheme}: {found['figures']} figures, {found['explorers']} explorers,"
                      f" {len(found['wrong'])} wrong", *found["wrong"], sep="\n  ")  # fmt: skip
                wrong += len(found["wrong"])
    sys.exit(1 if wrong else 0)


def look(report: Path, width: int, scheme: int, picture: Path | None) -> dict:
    """Open a page and ask it what it shows.

    Args:
        report: the page.
        width: of the window, in pixels.
        scheme: 0 dark, 1 light.
        picture: where to draw it; None draws nothing.

    Returns:
        What is wrong, and how many figures and explorers there are.
    """
    page = report.read_text(encoding="utf-8").replace("<head>", f"<head>{SCRIPT}", 1)
    page = page.replace("</body>", f"{PROBE}</body>", 1)
    with tempfile.TemporaryDirectory() as folder:
        inner, outer = Path(folder, "inner.html"), Path(folder, "outer.html")
        inner.write_text(page, encoding="utf-8")
        # A window has a least width of its own, a frame has none.
        outer.write_text(
            f'<body style="margin:0"><iframe src="inner.html" style="border:0;width:{width}px;height:900px"></iframe>'
            "<script>onload = () => setTimeout(() => { const frame = document.querySelector('iframe');"
            "const found = frame.contentDocument.getElementById('found');"
            "frame.style.height = JSON.parse(found.textContent).height + 'px';"
            "document.body.append(Object.assign(document.createElement('pre'), {id: 'found', hidden: true,"
            "textContent: found.textContent})); found.remove(); }, 500)</script>",
            encoding="utf-8",
        )
        base = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files",
                f"--blink-settings=preferredColorScheme={scheme}", "--virtual-time-budget=5000"]  # fmt: skip
        shown = subprocess.run([*base, "--dump-dom", str(outer)], capture_output=True, text=True, check=True).stdout
        answer = re.search(r'<pre id="found"[^>]*>(.*?)</pre>', shown, re.DOTALL)
        if answer is None:
            raise SystemExit(f"{report}: the page says nothing.")
        found: dict = json.loads(html.unescape(answer[1]))
        if picture is not None:
            picture.parent.mkdir(parents=True, exist_ok=True)
            size = f"--window-size={max(width, 500)},{found['height']}"
            draw = [*base, size, f"--screenshot={picture.resolve()}", str(outer)]
            subprocess.run(draw, capture_output=True, check=True)
    return found


if __name__ == "__main__":
    main()
