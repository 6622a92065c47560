// The page works without this. With it: values under the pointer, figures large in a dialog, a switch for light and dark.
'use strict';

const make = (tag, attributes, ...children) => {
    const element = Object.assign(document.createElement(tag), attributes);
    element.append(...children);
    return element;
};
const button = (text, label, onclick) => {
    const b = make('button', {type: 'button', onclick}, text);
    if (label) b.setAttribute('aria-label', label);
    return b;
};

// ---- light and dark ----

const root = document.documentElement;
const system = matchMedia('(prefers-color-scheme: dark)');
const isDark = () => root.dataset.scheme ? root.dataset.scheme === 'dark' : system.matches;
const scheme = button('', '', () => {
    root.dataset.scheme = isDark() ? 'light' : 'dark';
    nameScheme();
});
const nameScheme = () => { scheme.textContent = isDark() ? 'Light' : 'Dark'; };
scheme.className = 'scheme';
scheme.title = 'Change between light and dark';
system.addEventListener('change', nameScheme);
nameScheme();
document.querySelector('main > header').prepend(scheme);

// ---- values under the pointer ----

const reading = make('div', {className: 'reading', hidden: true});
let near = null;

const forget = () => {
    near?.classList.remove('near');
    near = null;
    reading.hidden = true;
};

// A place of the screen in the figure's own units.
const placeIn = (svg, event) => new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());

// The cell that holds the place, or the point that is nearest to it.
const nearest = (svg, place) => {
    const within = 24;
    let best = null, least = within * within;
    for (const spot of svg.querySelectorAll('.spots > *')) {
        const box = spot.getBBox();
        const dx = Math.max(Math.abs(place.x - box.x - box.width / 2) - (spot.tagName === 'rect' ? box.width / 2 : 0), 0);
        const dy = Math.max(Math.abs(place.y - box.y - box.height / 2) - (spot.tagName === 'rect' ? box.height / 2 : 0), 0);
        if (dx * dx + dy * dy < least) [best, least] = [spot, dx * dx + dy * dy];
    }
    return best;
};

const read = (svg, event) => {
    const spot = nearest(svg, placeIn(svg, event));
    if (spot === near && spot === null) return;
    forget();
    near = spot;
    if (!spot) return;
    spot.classList.add('near');
    reading.textContent = spot.dataset.words;
    (svg.closest('dialog') ?? document.body).append(reading);
    reading.hidden = false;
    const {width, height} = reading.getBoundingClientRect();
    reading.style.left = `${Math.max(8, Math.min(event.clientX + 14, innerWidth - width - 8))}px`;
    reading.style.top = `${event.clientY + 18 + height > innerHeight ? event.clientY - height - 10 : event.clientY + 18}px`;
};

for (const svg of document.querySelectorAll('figure svg')) {
    // The browser's own hint would stand beside ours.
    for (const title of svg.querySelectorAll('.spots title')) {
        title.parentNode.dataset.words = title.textContent;
        title.remove();
    }
    svg.addEventListener('pointermove', event => read(svg, event));
    svg.addEventListener('pointerleave', forget);
}

// ---- a figure, large ----

const zoom = {svg: null, home: null, whole: null, view: null, fingers: new Map()};
const heading = make('h2', {id: 'viewer-title'});
const stage = make('div', {className: 'stage', tabIndex: 0});
const viewer = make('dialog', {id: 'viewer'},
    make('header', {}, heading,
        button('−', 'Smaller', () => scale(1 / 1.3)), button('+', 'Larger', () => scale(1.3)),
        button('Whole', 'Whole figure', () => look(zoom.whole)), button('Close', '', () => viewer.close())),
    stage);
viewer.setAttribute('aria-labelledby', heading.id);
stage.setAttribute('role', 'img');
document.body.append(viewer);

const look = view => {
    zoom.view = {...view};
    zoom.svg.setAttribute('viewBox', `${view.x} ${view.y} ${view.width} ${view.height}`);
};

// `factor` times as large, `place` stays where it is. From the whole figure up to 40 times.
const scale = (factor, place) => {
    const {view, whole} = zoom;
    const width = Math.min(whole.width, Math.max(whole.width / 40, view.width / factor)), k = width / view.width;
    const at = place ?? {x: view.x + view.width / 2, y: view.y + view.height / 2};
    move({x: at.x + (view.x - at.x) * k, y: at.y + (view.y - at.y) * k, width, height: view.height * k}, 0, 0);
};

// The middle of the view stays within the figure.
const move = (view, dx, dy) => {
    const {whole} = zoom;
    const keep = (from, size, low, length) => Math.min(Math.max(from, low - size / 2), low + length - size / 2);
    look({...view, x: keep(view.x + dx, view.width, whole.x, whole.width),
          y: keep(view.y + dy, view.height, whole.y, whole.height)});
};

const open = figure => {
    const svg = figure.querySelector('svg'), {x, y, width, height} = svg.viewBox.baseVal;
    forget();
    zoom.svg = svg;
    zoom.home = svg.parentNode;
    zoom.home.style.minHeight = `${zoom.home.clientHeight}px`;
    zoom.whole = {x, y, width, height};
    const words = zoom.home.getAttribute('aria-label');
    heading.textContent = words.slice(0, words.indexOf('. '));
    stage.setAttribute('aria-label', words);
    stage.append(svg);
    look(zoom.whole);
    viewer.showModal();
    stage.focus();
};

viewer.addEventListener('close', () => {
    forget();
    look(zoom.whole);
    zoom.fingers.clear();
    zoom.home.style.minHeight = '';
    zoom.home.append(zoom.svg);
    zoom.home.focus();
});

stage.addEventListener('wheel', event => {
    event.preventDefault();
    scale(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), placeIn(zoom.svg, event));
}, {passive: false});

viewer.addEventListener('keydown', event => {
    const step = zoom.view.width / 10;
    const moves = {ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step]};
    if (moves[event.key]) move(zoom.view, ...moves[event.key]);
    else if (event.key === '+' || event.key === '=') scale(1.3);
    else if (event.key === '-') scale(1 / 1.3);
    else if (event.key === '0') look(zoom.whole);
    else return;
    event.preventDefault();
});

// One finger moves, two change the size.
stage.addEventListener('pointerdown', event => {
    stage.setPointerCapture(event.pointerId);
    zoom.fingers.set(event.pointerId, event);
});
stage.addEventListener('pointermove', event => {
    const before = zoom.fingers.get(event.pointerId);
    if (!before) return;
    const from = placeIn(zoom.svg, before), to = placeIn(zoom.svg, event);
    const other = [...zoom.fingers.values()].find(finger => finger.pointerId !== event.pointerId);
    if (other) {
        const still = placeIn(zoom.svg, other);
        const distance = place => Math.max(Math.hypot(place.x - still.x, place.y - still.y), 1e-6);
        scale(distance(to) / distance(from), still);
    } else {
        move(zoom.view, from.x - to.x, from.y - to.y);
    }
    zoom.fingers.set(event.pointerId, event);
});
for (const end of ['pointerup', 'pointercancel'])
    stage.addEventListener(end, event => zoom.fingers.delete(event.pointerId));

for (const figure of document.querySelectorAll('figure')) {
    const sheet = figure.querySelector('.sheet');
    sheet.classList.add('zoomable');
    sheet.addEventListener('click', () => open(figure));
    sheet.addEventListener('keydown', event => { if (event.key === 'Enter') open(figure); });
    const words = sheet.getAttribute('aria-label');
    const enlarge = button('Enlarge', `Enlarge: ${words.slice(0, words.indexOf('. '))}`, () => open(figure));
    enlarge.className = 'enlarge';
    figure.querySelector('.links').prepend(enlarge);
}
