"""Pages in a real Chromium, driven by Playwright and judged by axe-core."""
