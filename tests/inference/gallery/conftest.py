"""A Chromium that draws without a graphics card, and notes what it asks for."""

import shutil

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

DRAW_IN_SOFTWARE = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")


@pytest.fixture(scope="session")
def chromium():
    """Give a running Chromium, or skip."""
    driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = [path for path in map(shutil.which, BROWSERS) if path is not None]
    if not found:
        pytest.skip(f"no Chromium on the path; looked for {', '.join(BROWSERS)}")
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found[0], args=[*DRAW_IN_SOFTWARE, "--no-sandbox"]
        )
        yield browser
        browser.close()
