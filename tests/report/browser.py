"""A page as headless Chromium shows it: what was drawn, what was loaded, what the console said."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
    "--virtual-time-budget=2000",
    "--host-resolver-rules=MAP * ~NOTFOUND",  # the browser's own errands end here too
)
# Runs at the end of the page: measures what the browser has laid out and tells the page around it.
_MEASURE = """
<script>
addEventListener("load", () => {
  const box = (element) => { const r = element.getBoundingClientRect(); return [r.width, r.height]; };
  document.querySelector(".flame div:nth-child(3)")?.click();
  const seen = {
    across: document.documentElement.scrollWidth,
    window: innerWidth,
    shapes: [...document.querySelectorAll(".plot svg")].map((svg) =>
      [...svg.querySelectorAll("polyline, polygon")].map(box)),
    boxes: [...document.querySelectorAll(".flame div")].map(box),
    bars: [...document.querySelectorAll(".bar b")].map(box),
    text: document.querySelector(".found").innerText,
    errors: window.mistakes,
    loaded: performance.getEntriesByType("resource").map((entry) => entry.name),
  };
  parent.postMessage(JSON.stringify(seen), "*");
});
</script>
"""
# A window has a least width, a frame has not.
_FRAME = """<!doctype html>
<pre id="seen"></pre>
<script>addEventListener("message", (told) => document.getElementById("seen").append(told.data));</script>
<iframe src="{page}" style="width: {width}px; height: 2000px; border: 0"></iframe>
"""
_LISTEN = "<script>window.mistakes = []; addEventListener('error', (e) => mistakes.push(String(e.message)));</script>"


@dataclass(frozen=True)
class Seen:
    """``layout``: sizes of everything drawn, in CSS pixels, and what was loaded; ``console``: its messages."""

    layout: dict[str, Any]
    console: list[str]


def look(page: str, width: int, folder: Path) -> Seen:
    """Open a page at a width."""
    assert CHROMIUM is not None
    file, around = folder / "page.html", folder / "around.html"
    file.write_text(page.replace("<head>", f"<head>{_LISTEN}", 1).replace("</body>", f"{_MEASURE}</body>", 1))
    around.write_text(_FRAME.format(page=file.name, width=width))
    done = subprocess.run(
        [
            CHROMIUM,
            *_FLAGS,
            f"--user-data-dir={folder / 'profile'}",
            f"--window-size={max(width, 500) + 50},2100",
            "--dump-dom",
            around.as_uri(),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, done.stdout[-500:]
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return Seen(json.loads(unescape(found[1])), console)
