"""What axe finds serious on a page, and what is too wide of it for a phone."""

from importlib.resources import files

from playwright.sync_api import Page

_AXE = f"() => {{ {files('axe_playwright_python').joinpath('axe.min.js').read_text(encoding='utf-8')} }}"
# What stands around each page is examined where the whole of it is asked for.
_EXAMINE = """whole => axe.run(whole ? document : document.querySelector('main'), {
    resultTypes: ['violations'], runOnly: {type: 'tag', values: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']},
}).then(result => result.violations
    .filter(found => ['serious', 'critical'].includes(found.impact))
    .flatMap(found => found.nodes.map(node => `${found.id}: ${node.html.slice(0, 160)} (${node.failureSummary})`)))"""
# What scrolls inside its own box is meant to; the page itself must not, and neither must a list, whose rows are cards.
_TOO_WIDE = """() => {
    const room = document.documentElement.clientWidth;
    const lists = [...document.querySelectorAll('.portal-list')].map(list => list.parentElement);
    const beside = lists.filter(box => box.scrollWidth > box.clientWidth + 1).map(box => box.outerHTML.slice(0, 160));
    if (document.documentElement.scrollWidth <= room) return beside;
    const wide = [...document.querySelectorAll('body *')].filter(one => one.getBoundingClientRect().right > room + 1
        && !one.closest('.table-responsive'));
    return ['the page', ...beside, ...wide.slice(0, 3).map(one => one.outerHTML.slice(0, 160))];
}"""


def faults_of(page: Page, name: str, *, whole: bool = False, dark: bool = False) -> list[str]:
    """Return the faults of a page that is open, each behind its name; with `dark` those of the dark theme, too."""
    page.evaluate(_AXE)
    found = [f"{name}: {fault}" for fault in page.evaluate(_EXAMINE, whole)]
    if dark:
        page.evaluate("() => document.documentElement.setAttribute('data-bs-theme', 'dark')")
        found += [f"{name} in the dark: {fault}" for fault in page.evaluate(_EXAMINE, whole)]
    before = page.viewport_size
    assert before is not None
    page.set_viewport_size({"width": 390, "height": 844})
    found += [f"{name} too wide: {one}" for one in page.evaluate(_TOO_WIDE)]
    page.set_viewport_size(before)
    return found
