"""A real browser, for pages: what is drawn, what is asked for, what goes wrong."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
needs_browser = pytest.mark.skipif(
    BROWSER is None, reason="no chromium, chromium-browser or google-chrome is installed"
)


class Browser:
    """A headless browser with a profile of its own."""

    FLAGS = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --disable-features=NetworkTimeServiceQuerying --hide-scrollbars "
        "--virtual-time-budget=5000 --enable-logging=stderr"
    )

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.net_log = folder / "net.json"

    def open(self, page: Path, *flags: str) -> subprocess.CompletedProcess[str]:
        profile = self.folder / f"profile-{len(list(self.folder.iterdir()))}"
        command = [str(BROWSER), *self.FLAGS.split(), f"--user-data-dir={profile}", f"--log-net-log={self.net_log}"]
        return subprocess.run(
            [*command, "--host-resolver-rules=MAP * ~NOTFOUND", *flags, page.as_uri()],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )

    def dom(self, page: Path) -> str:
        done = self.open(page, "--dump-dom")
        assert "CONSOLE" not in done.stderr, done.stderr
        return done.stdout

    def requested_hosts(self) -> set[str]:
        """The hosts that were asked for anything since the last page was opened."""
        hosts = set(re.findall(r'"url":"(?:https?|wss?|ftp)://([^/:"]+)', self.net_log.read_text(errors="replace")))
        return {host for host in hosts if not host.endswith((".google.com", ".googleapis.com"))}  # the browser's own

    def after(self, page: Path, script: str) -> dict[str, object]:
        """What a script finds in the opened page, which it may also operate: it returns a JSON-able object."""
        tried = page.with_name("tried.html")
        probe = f"""<script>addEventListener("load", () => setTimeout(() => {{
            const out = document.createElement("output"); out.id = "tried";
            out.textContent = JSON.stringify((() => {{ {script} }})()); document.body.append(out);
        }}, 1500));</script></body>"""
        tried.write_text(page.read_text(encoding="utf-8").replace("</body>", probe), encoding="utf-8")
        found = re.search(r'<output id="tried">(.*?)</output>', self.dom(tried))
        assert found, "the script did not end"
        result: dict[str, object] = json.loads(
            found[1].replace("&quot;", '"').replace("&gt;", ">").replace("&amp;", "&")
        )
        return result
