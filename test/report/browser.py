#!/usr/bin/env python3
"""A report in a real browser, headless: what it looks like and what it does on a desktop, a phone and paper, in light and dark.

    browser.py PAGE.html OUT_FOLDER [COMMAND..]

COMMAND is run first, to write the page; where it exits with 77, as tests do that want a model that is not there, so does this.
OUT_FOLDER gets a screenshot of each form and a PDF. Without a browser this fails, except where SNELLEN_NO_BROWSER=1 says that
there need not be one: then it is skipped, exit status 77.
"""
import base64, json, os, re, shutil, subprocess, sys, tempfile, time

FORMS = [("phone", 360, 740, True), ("desktop", 1280, 800, False)]
LEAST_CONTRAST = 4.5


class Browser:
    """Chromium over the two pipes of its DevTools protocol: messages of JSON, a NUL after each."""

    def __init__(self, program, folder):
        to_read, self.out = os.pipe()
        self.into, to_write = os.pipe()
        self.waiting, self.events, self.count, self.session = b"", [], 0, None

        def pipes():   # as the protocol wants them: 3 is read, 4 is written
            a, b = os.dup(to_read), os.dup(to_write)
            os.dup2(a, 3)
            os.dup2(b, 4)

        self.log = open(os.path.join(folder, "browser.log"), "wb")
        self.process = subprocess.Popen(
            [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--remote-debugging-pipe", f"--user-data-dir={folder}/profile", "about:blank"],
            stderr=self.log, stdout=self.log, preexec_fn=pipes, pass_fds=(3, 4), close_fds=True)
        os.close(to_read)
        os.close(to_write)
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(domain + ".enable")

    def receive(self):
        while b"\0" not in self.waiting:
            piece = os.read(self.into, 1 << 20)
            if not piece:
                sys.exit("the browser ended by itself, see browser.log")
            self.waiting += piece
        message, self.waiting = self.waiting.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, **params):
        self.count += 1
        message = {"id": self.count, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            reply = self.receive()
            if reply.get("id") == self.count:
                if "error" in reply:
                    sys.exit(f"{method}: {reply['error']}")
                return reply["result"]
            self.events.append(reply)

    def wait_for(self, method):
        while not any(e.get("method") == method for e in self.events):
            self.events.append(self.receive())

    def run(self, script):
        r = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in r:
            sys.exit(f"{script[:80]}: {r['exceptionDetails'].get('exception', {}).get('description')}")
        return r["result"].get("value")

    def key(self, key, code=0, text=""):
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, text=text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def mouse(self, kind, x, y, **more):
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def open(self, url, width, height, phone, scheme, media="", scripts=True):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        self.call("Emulation.setEmulatedMedia", media=media, features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.events.clear()
        self.call("Page.navigate", url=url)
        self.wait_for("Page.loadEventFired")

    def picture(self, path, whole=False):
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        with open(path, "wb") as f:
            f.write(base64.b64decode(data))

    def close(self):
        self.session = None
        try:
            self.call("Browser.close")
            self.process.wait(20)
        except (OSError, subprocess.TimeoutExpired, SystemExit):
            self.process.kill()
            self.process.wait()
        self.log.close()


class Checks:
    def __init__(self):
        self.done, self.failed, self.where = 0, [], ""

    def that(self, holds, words):
        self.done += 1
        if not holds:
            self.failed.append(f"{self.where}: {words}")

    def equal(self, found, expected, words):
        self.that(found == expected, f"{words}: {found!r} found, {expected!r} expected")


# Everything whose box ends right of the window, except what scrolls within its own box.
OVERFLOWING = """(() => {
    const width = document.documentElement.clientWidth;
    const scrolls = e => e && e !== document.body && (getComputedStyle(e).overflowX !== 'visible' || scrolls(e.parentElement));
    return [...document.body.querySelectorAll('*')].filter(e => e.getBoundingClientRect().right > width + 0.5
        && !scrolls(e.parentElement)).map(e => e.tagName + '.' + e.className).slice(0, 5);
})()"""

# Text whose colour is too near to what lies behind it: [ratio, text].
FAINT_TEXT = """(least => {
    const parse = text => text.match(/[\\d.]+/g).map(Number);
    const light = c => c.slice(0, 3).map(x => x / 255).map(x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4)
        .reduce((sum, x, i) => sum + x * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = e => {
        for (; e; e = e.parentElement) {
            const c = parse(getComputedStyle(e).backgroundColor);
            if (c.length === 3 || c[3] === 1) return c;
        }
        return [255, 255, 255];
    };
    const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let n; (n = walker.nextNode());) {
        const e = n.parentElement;
        if (!n.data.trim() || !e.checkVisibility({visibilityProperty: true}) || e.closest('svg,script,style')) continue;
        const a = light(parse(getComputedStyle(e).color)), b = light(ground(e));
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < least) found.push([ratio, n.data.trim().slice(0, 40)]);
    }
    return found.slice(0, 5);
})(%s)""" % LEAST_CONTRAST

# Pens of figures by name, and how far each stands off their ground: words 4.5, lines and marks 3 (WCAG 2.2, 1.4.3 and 1.4.11).
PENS = [("ink", 4.5), ("soft", 4.5), ("aside", 3)] + [(f"series-{i}", 3) for i in range(1, 9)]
PEN_CONTRAST = """(pen => {
    const probe = document.body.appendChild(document.createElement('i'));
    const light = name => {
        probe.style.color = `var(--plot-${name})`;
        return getComputedStyle(probe).color.match(/[\\d.]+/g).slice(0, 3).map(x => x / 255)
            .map(x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4)
            .reduce((sum, x, i) => sum + x * [0.2126, 0.7152, 0.0722][i], 0);
    };
    const [a, b] = [light(pen), light('ground')];
    probe.remove();
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
})(%s)"""

STRUCTURE = """(() => {
    const all = s => [...document.querySelectorAll(s)];
    const ids = all('[id]').map(e => e.id), levels = all('main :is(h1,h2,h3,h4)').map(e => +e.tagName[1]);
    return {
        twice: ids.filter((id, i) => ids.indexOf(id) !== i),
        skips: levels.filter((level, i) => level > (i ? levels[i - 1] : 0) + 1),
        h1: levels.filter(level => level === 1).length,
        figures: all('figure').length,
        unnamed: all('figure .sheet').filter(e => e.getAttribute('role') !== 'img' || !(e.ariaLabel || '').trim()).length,
        tableless: all('figure').filter(f => !f.querySelector('details table tbody tr')).length,
        spotless: all('figure').filter(f => !f.querySelector('.spots > *')).length,
        deaf: all('button').filter(b => !(b.ariaLabel || b.textContent).trim()).length,
        unreachable: all('.scroll').filter(e => e.tabIndex < 0).length,
        broken: all('a[href^="#"]').filter(a => !document.getElementById(a.getAttribute('href').slice(1))).length,
        lang: document.documentElement.lang,
    };
})()"""


def quiet(browser, checks):
    """Nothing was asked of anywhere, nothing complained."""
    for e in browser.events:
        method, p = e.get("method"), e.get("params", {})
        if method == "Network.requestWillBeSent":
            url = p["request"]["url"]
            checks.that(url.startswith("data:") or (p["type"] == "Document" and url.startswith("file:")), f"asks for {url[:100]}")
        checks.that(method != "Runtime.exceptionThrown", f"error in the script: {json.dumps(p)[:300]}")
        if method == "Runtime.consoleAPICalled":
            checks.that(p["type"] not in ("error", "warning", "assert"), f"console: {json.dumps(p)[:300]}")
        if method == "Log.entryAdded":
            checks.that(p["entry"]["level"] not in ("error", "warning"), f"log: {p['entry']['text'][:300]}")


def check_structure(browser, checks):
    s = browser.run(STRUCTURE)
    for name in ("twice", "skips"):
        checks.equal(s[name], [], {"twice": "ids used twice", "skips": "headings that skip a level"}[name])
    for name in ("unnamed", "tableless", "spotless", "deaf", "unreachable", "broken"):
        checks.equal(s[name], 0, f"elements that are {name}")
    checks.equal(s["h1"], 1, "main headings")
    checks.equal(s["lang"], "en", "language")
    checks.that(s["figures"] > 0, "no figure")


def view_box(browser):
    return [float(x) for x in browser.run("document.querySelector('dialog svg').getAttribute('viewBox')").split()]


def check_dialog(browser, checks, folder, name):
    """Opens by Enter, grows and moves by keys, wheel and dragging, closes by Escape and leaves all as it was."""
    is_open = "document.querySelector('dialog').open"
    before = browser.run("document.querySelector('figure').offsetHeight")
    browser.run("document.querySelector('figure .sheet').focus()")
    browser.key("Enter", 13, "\r")
    checks.that(browser.run(is_open), "Enter does not open the figure")
    if not browser.run(is_open):
        return
    whole = view_box(browser)
    browser.key("+", 187, "+")
    larger = view_box(browser)
    checks.that(larger[2] < whole[2] and larger[3] < whole[3], "+ does not enlarge")
    browser.key("ArrowRight", 39)
    checks.that(view_box(browser)[0] > larger[0], "the right arrow does not move")
    x, y = browser.run("(r => [r.left + r.width / 3, r.top + r.height / 3])(document.querySelector('.stage').getBoundingClientRect())")
    moved = view_box(browser)
    browser.mouse("mouseWheel", x, y, deltaX=0, deltaY=-300)
    browser.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    checks.that(view_box(browser)[2] < moved[2], "the wheel does not enlarge")
    wheeled = view_box(browser)
    browser.mouse("mousePressed", x, y, button="left", clickCount=1)
    browser.mouse("mouseMoved", x - 60, y - 40, button="left", buttons=1)
    browser.mouse("mouseReleased", x - 60, y - 40, button="left", clickCount=1)
    checks.that(view_box(browser)[0] > wheeled[0] and view_box(browser)[1] > wheeled[1], "dragging does not move")
    pinch(browser, checks, x, y)
    browser.picture(os.path.join(folder, f"{name}-dialog.png"))
    browser.key("0", 48, "0")
    checks.equal(view_box(browser), whole, "0 shows the whole figure")
    browser.key("Escape", 27)
    browser.run("new Promise(done => setTimeout(done, 100))")
    checks.that(not browser.run(is_open), "Escape does not close")
    checks.equal(browser.run("document.querySelector('figure').offsetHeight"), before, "the figure's height after closing")
    checks.equal(browser.run("document.activeElement.className.includes('sheet')"), True, "the focus is back on the figure")
    browser.run("document.querySelector('figure .enlarge').click()")
    checks.that(browser.run(is_open), "the button does not open the figure")
    browser.run("[...document.querySelectorAll('dialog button')].find(b => b.textContent === 'Close').click()")
    browser.run("new Promise(done => setTimeout(done, 100))")
    checks.that(not browser.run(is_open), "the button does not close")


def pinch(browser, checks, x, y):
    """Two fingers that part."""
    before = view_box(browser)
    for kind, way in (("touchStart", 20), ("touchMove", 30), ("touchMove", 60), ("touchEnd", 0)):
        points = [] if kind == "touchEnd" else [{"x": x - way, "y": y, "id": 1}, {"x": x + way, "y": y, "id": 2}]
        browser.call("Input.dispatchTouchEvent", type=kind, touchPoints=points)
    checks.that(view_box(browser)[2] < before[2], "two fingers do not enlarge")


def check_reading(browser, checks):
    """The value under the pointer is told."""
    x, y = browser.run("""(() => {
        document.querySelector('figure').scrollIntoView({block: 'center'});
        const r = document.querySelector('figure .spots > *').getBoundingClientRect();
        return [r.left + r.width / 2, r.top + r.height / 2];
    })()""")
    browser.mouse("mouseMoved", x, y)
    words = browser.run("(e => e && !e.hidden ? e.textContent : '')(document.querySelector('.reading'))")
    checks.that(bool(re.search(r"\d", words)), f"no value under the pointer: {words!r}")
    browser.mouse("mouseMoved", 1, 1)


def check_switch(browser, checks, scheme):
    ground = "getComputedStyle(document.body).backgroundColor"
    before = browser.run(ground)
    browser.run("document.querySelector('.scheme').click()")
    checks.that(browser.run(ground) != before, "the switch changes nothing")
    checks.equal(browser.run("document.documentElement.dataset.scheme"), {"light": "dark", "dark": "light"}[scheme], "scheme")
    browser.run("document.querySelector('.scheme').click()")
    checks.equal(browser.run(ground), before, "ground after two switches")


def check_form(browser, checks, url, folder, form, scheme):
    name, width, height, phone = form
    checks.where = f"{name}, {scheme}"
    browser.open(url, width, height, phone, scheme)
    browser.picture(os.path.join(folder, f"{name}-{scheme}.png"))
    browser.picture(os.path.join(folder, f"{name}-{scheme}-whole.png"), whole=True)
    too_wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    checks.equal(browser.run("innerWidth"), width, "width")
    checks.equal(browser.run(too_wide), 0, "pixels to scroll sideways")
    checks.equal(browser.run(OVERFLOWING), [], "elements that overflow sideways")
    checks.equal(browser.run(FAINT_TEXT), [], f"text of a contrast below {LEAST_CONTRAST}")
    for pen, least in PENS:
        ratio = browser.run(PEN_CONTRAST % json.dumps(pen))
        checks.that(ratio >= least, f"the pen {pen} has a contrast of {ratio:.2f}, {least} expected")
    check_structure(browser, checks)
    check_reading(browser, checks)
    check_switch(browser, checks, scheme)
    check_dialog(browser, checks, folder, f"{name}-{scheme}")
    browser.run("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    checks.equal(browser.run(too_wide), 0, "pixels to scroll sideways with all details open")
    checks.equal(browser.run(FAINT_TEXT), [], f"text in details of a contrast below {LEAST_CONTRAST}")
    quiet(browser, checks)


def check_plain(browser, checks, url):
    """Without scripts nothing is missing but what only they can do."""
    checks.where = "no scripts"
    browser.open(url, 1280, 800, False, "light", scripts=False)
    count = browser.call("DOM.getDocument", depth=-1)["root"]
    names = []

    def walk(node):
        names.append(node["nodeName"].lower())
        for child in node.get("children", []):
            walk(child)

    walk(count)
    for tag in ("figure", "svg", "table", "title"):
        checks.that(tag in names, f"no <{tag}>")
    for tag in ("button", "dialog"):
        checks.that(tag not in names, f"a <{tag}> that does nothing")
    quiet(browser, checks)


def check_paper(browser, checks, url, folder):
    checks.where = "paper"
    browser.open(url, 1000, 1400, False, "dark", media="print")
    checks.equal(browser.run("getComputedStyle(document.body).backgroundColor"), "rgb(255, 255, 255)", "ground")
    shown = "[...document.querySelectorAll('%s')].filter(e => e.checkVisibility()).length"
    for what in ("nav", "button", "dialog"):
        checks.equal(browser.run(shown % what), 0, f"<{what}> on paper")
    checks.equal(browser.run("[...document.querySelectorAll('figure')].filter(f => getComputedStyle(f).breakInside !== 'avoid').length"),
                 0, "figures that may be cut")
    highest = browser.run("Math.max(...[...document.querySelectorAll('figure')].map(f => f.offsetHeight))")
    checks.that(highest < 900, f"a figure of {highest} pixels does not fit on a page")
    browser.call("Emulation.setEmulatedMedia", media="", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    pdf = base64.b64decode(browser.call("Page.printToPDF", paperWidth=8.27, paperHeight=11.69, printBackground=True)["data"])
    with open(os.path.join(folder, "paper.pdf"), "wb") as f:
        f.write(pdf)
    checks.that(pdf.startswith(b"%PDF") and len(pdf) > 10000, "no PDF")
    quiet(browser, checks)


def main(page, folder, *command):
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if not program:
        print("there is no chromium: scripts/setup --browser installs it")
        return 77 if os.environ.get("SNELLEN_NO_BROWSER") == "1" else 1
    made = subprocess.run(command).returncode if command else 0
    if made:
        return made
    os.makedirs(folder, exist_ok=True)
    url, checks, start = "file://" + os.path.abspath(page), Checks(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="snellen-browser-") as scratch:
        browser = Browser(program, scratch)
        try:
            for form in FORMS:
                for scheme in ("light", "dark"):
                    check_form(browser, checks, url, folder, form, scheme)
            check_plain(browser, checks, url)
            check_paper(browser, checks, url, folder)
        finally:
            browser.close()
    print("\n".join(checks.failed[:40]))
    print(f"{checks.done} checks, {len(checks.failed)} failed, {time.monotonic() - start:.1f} s; pictures in {folder}")
    return 1 if checks.failed or not checks.done else 0


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
