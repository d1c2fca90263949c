// Which words are selected, and their colours: told apart, and known again in the next picture.
"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { Selection, nameChips, phrasesOf } = require("../../javascript/attention_heatmap_selection.js");
const { pickColour, oklab, distance, rgbOf } = require("../../javascript/attention_heatmap_colours.js");

/** Chips of a prompt without syntax. */
function chipsOf(prompt, side = "positive") {
    let from = 0;
    const each = {};
    const chips = prompt.split(" ").map((text, number) => {
        const start = prompt.indexOf(text, from);
        from = start + text.length;
        return { text, side, each, part: 0, number, span: [start, from] };
    });
    nameChips(chips);
    return chips;
}

const colourFor = (group, taken) => pickColour(taken, []);
const texts = (selection) => selection.groups.map((group) => group.map((chip) => chip.text).join(" "));

test("a word alone, one more, one less, a phrase", () => {
    const [a, red, circle, and, blue] = chipsOf("a red circle and blue");
    const selection = new Selection([a, red, circle, and, blue], colourFor);
    selection.only(red);
    selection.toggle(blue);
    assert.deepEqual(texts(selection), ["red", "blue"]);
    selection.toggle(red);
    assert.deepEqual(texts(selection), ["blue"]);
    selection.join(circle, red, true);
    assert.deepEqual(texts(selection), ["blue", "red circle"]);
    selection.join(red, and);
    assert.deepEqual(texts(selection), ["red circle and"]);
    assert.deepEqual(phrasesOf([red, circle, blue]), [[[2, 5], [6, 12]], [[17, 21]]]);
    selection.only(a);
    selection.only(a);
    assert.deepEqual(texts(selection), []);
});

test("the next picture's words are known again, the second of its kind too, with their colours", () => {
    const before = chipsOf("a cat and a cat");
    const selection = new Selection(before, colourFor);
    selection.toggle(before[4]);
    selection.toggle(before[2]);
    const colours = selection.groups.map((group) => selection.colourOf(group));
    const after = new Selection(chipsOf("so a Cat and a cat"), colourFor);
    after.restore(JSON.parse(JSON.stringify(selection.remember())));
    assert.deepEqual(after.groups.map(([chip]) => chip.number), [5, 3]);
    assert.deepEqual(after.groups.map((group) => after.colourOf(group)), colours);
    const without = new Selection(chipsOf("a dog"), colourFor);
    without.restore(selection.remember());
    assert.deepEqual(without.groups, []);
});

test("thirty words have thirty colours, and the first ten are far apart", () => {
    const taken = [];
    for (let number = 0; number < 30; number++) {
        taken.push(pickColour(taken, []));
    }
    assert.equal(new Set(taken).size, 30);
    const labs = taken.slice(0, 10).map((colour) => oklab(rgbOf(colour)));
    const pairs = labs.flatMap((one, at) => labs.slice(at + 1).map((other) => distance(one, other)));
    assert.ok(Math.min(...pairs) > 0.1, String(Math.min(...pairs)));
});

test("a colour stands out from the picture under its word", () => {
    for (const ground of [[230, 30, 20], [20, 60, 230], [40, 220, 90], [255, 210, 0]]) {
        const colour = pickColour([], [[ground, 1], [[255, 255, 255], 0]]);
        assert.ok(distance(oklab(rgbOf(colour)), oklab(ground)) > 0.3, `${colour} on ${ground}`);
    }
});

test("OKLab is as published", () => {
    const close = (found, expected) => found.forEach((value, at) => assert.ok(Math.abs(value - expected[at]) < 2e-3, `${found}`));
    close(oklab([255, 255, 255]), [1, 0, 0]);
    close(oklab([255, 0, 0]), [0.628, 0.2249, 0.1258]);
    close(oklab([0, 0, 255]), [0.452, -0.0325, -0.3115]);
});
