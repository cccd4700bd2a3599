"""A real browser, driven headless, and a real optuna-dashboard; absent on some machines."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
"""Kept for people to look at; not in git."""

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


@contextmanager
def browser(folder: Path) -> Iterator[webdriver.Chrome]:
    """Start chromium with an empty profile; the test is skipped where it is not installed."""
    programs = [shutil.which("chromium"), shutil.which("chromedriver")]
    if None in programs:
        pytest.skip("chromium and its driver are absent; apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = str(programs[0])
    for flag in (*FLAGS, f"--user-data-dir={folder}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(programs[1])))
    try:
        yield driver
    finally:
        driver.quit()


@contextmanager
def dashboard(storage: str, artifacts: Path) -> Iterator[str]:
    """Start optuna-dashboard by its own command line and return its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = str(Path(sys.executable).parent / "optuna-dashboard")
    server = subprocess.Popen(
        [command, storage, "--artifact-dir", str(artifacts), "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                with urllib.request.urlopen(f"{address}/api/studies"):
                    break
            except urllib.error.URLError:
                time.sleep(0.1)
        yield address
    finally:
        server.terminate()
        server.wait()


def look(
    driver: webdriver.Chrome, name: str, width: int, height: int, *, grey: bool = False
) -> None:
    """Keep a screenshot of the page at a width, phones' ones included."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    filtered = "grayscale(1)" if grey else ""
    driver.execute_script("document.documentElement.style.filter = arguments[0]", filtered)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    driver.save_screenshot(str(SCREENSHOTS / f"{name}.png"))


def errors(driver: webdriver.Chrome) -> list[str]:
    """What the browser's console calls an error, since it was last asked."""
    lines = driver.get_log("browser")  # type: ignore[no-untyped-call]
    return [str(line["message"]) for line in lines if line["level"] == "SEVERE"]
