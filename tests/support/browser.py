"""A real browser without a window, where one is installed."""

import os
import shutil
import subprocess

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")

BROWSER = next((path for name in _NAMES if (path := shutil.which(name))), None)
"""Path of a browser of Chromium's kind, or None."""


def rendered(page, profile):
    """Return the document that a file has become once its scripts have run, and what the console said."""
    root = ["--no-sandbox"] if getattr(os, "geteuid", lambda: 1)() == 0 else []
    result = subprocess.run(
        [BROWSER, "--headless", "--disable-gpu", *root, "--no-first-run", "--disable-background-networking",
         f"--user-data-dir={profile}", "--window-size=1280,1200", "--enable-logging=stderr", "--v=0",
         "--virtual-time-budget=2000", "--dump-dom", page.absolute().as_uri()],
        capture_output=True, timeout=120, check=True, encoding="utf-8")
    said = [line for line in result.stderr.splitlines() if "CONSOLE" in line]
    return result.stdout, said
