// The viewer's changes of a prompt: written by frames, undone, taken back out of order, and kept beside what was typed.
"use strict";

const assert = require("node:assert/strict");
const { readFileSync } = require("node:fs");
const { test } = require("node:test");
const { PromptEdits, RewritingError } = require("../../javascript/attention_heatmap_edits.js");

const { frames } = process.env.VECTORS ? JSON.parse(readFileSync(process.env.VECTORS, "utf-8")) : {};
const skip = frames ? false : "VECTORS is not set; pytest tests/viewer sets it";

const PROMPT = "a (red:1.2) cat, a cat";
const RED = [[3, 6]];
const CAT = [[12, 15]];
const SECOND_CAT = [[19, 22]];

const editsOf = (prompt) => new PromptEdits(prompt, frames[prompt]);

/** Spans of words, by their text. */
function find(prompt, ...words) {
    let from = 0;
    return words.map((word) => {
        const start = prompt.indexOf(word, from);
        from = start + word.length;
        return [start, from];
    });
}

test("changes are undone one by one", { skip }, () => {
    const edits = editsOf(PROMPT);
    edits.changeWeight(RED, 0.1);
    edits.changeWeight(CAT, -0.1);
    assert.equal(edits.prompt, "a (red:1.3) (cat:0.9), a cat");
    edits.undo();
    assert.equal(edits.prompt, "a (red:1.3) cat, a cat");
    edits.undo();
    assert.equal(edits.prompt, PROMPT);
    assert.ok(!edits.canUndo);
});

test("a removed word is restored while later changes stay, and restoring can be undone", { skip }, () => {
    const edits = editsOf(PROMPT);
    edits.changeWeight(RED, 0.1);
    edits.remove(RED);
    edits.changeWeight(SECOND_CAT, 0.1);
    assert.equal(edits.prompt, "a cat, a (cat:1.1)");
    assert.ok(edits.isRemoved(RED[0]));
    edits.restore(RED);
    assert.equal(edits.prompt, "a (red:1.3) cat, a (cat:1.1)");
    assert.equal(edits.weightOf(RED[0]), 1.3);
    edits.undo();
    assert.ok(edits.isRemoved(RED[0]));
});

test("of equal words the one that was meant is changed, also after another went", { skip }, () => {
    const edits = editsOf(PROMPT);
    edits.remove(CAT);
    edits.changeWeight(SECOND_CAT, 0.1);
    assert.equal(edits.prompt, "a (red:1.2), a (cat:1.1)");
});

test("steps back and forth end in the text from before", { skip }, () => {
    for (const prompt of ["a (red:1.2) cat, a cat", "((red)) cat", "[red] cat"]) {
        const edits = editsOf(prompt);
        const word = find(prompt, "red");
        [0.1, 0.1, -0.1, -0.1].forEach((by) => edits.changeWeight(word, by));
        edits.changeWeight(word, 0.1);
        edits.changeWeight(word, -0.1);
        assert.equal(edits.prompt, prompt.startsWith("[") ? "(red:0.91) cat" : prompt);
    }
});

test("a phrase gets one pair of brackets, in the place of those that hold nothing else", { skip }, () => {
    const phrase = (prompt, ...words) => {
        const edits = editsOf(prompt);
        edits.changeWeight(find(prompt, ...words), 0.1);
        return edits.prompt;
    };
    assert.equal(phrase("a red cat", "red", "cat"), "a (red cat:1.1)");
    assert.equal(phrase("(red cat:1.2), b", "red", "cat"), "(red cat:1.3), b");
    assert.equal(phrase("(red cat:1.2), b", "red"), "((red:1.08) cat:1.2), b");
    assert.equal(phrase("(red:1.5), (cat:1.2)", "red", "cat"), "(red:1.6), (cat:1.3)");
});

test("a phrase goes with its commas and brackets; what is left in brackets is written anew", { skip }, () => {
    const prompt = "(red cat:1.2), b";
    const edits = editsOf(prompt);
    edits.remove(find(prompt, "red", "cat"));
    assert.equal(edits.prompt, "b");
    edits.restore(find(prompt, "red"));
    assert.equal(edits.prompt, "(red:1.2), b");
    edits.changeWeight(find(prompt, "red"), 0.1);
    assert.equal(edits.prompt, "(red:1.3), b");
});

test("what would be read otherwise is refused, and nothing changes", { skip }, () => {
    const glued = editsOf("(red:1.1)(cat:1.2)");
    assert.throws(() => glued.changeWeight(find("(red:1.1)(cat:1.2)", "red"), 0.1), /would become one word/u);
    assert.equal(glued.prompt, "(red:1.1)(cat:1.2)");
    assert.ok(!glued.canUndo);
    const zero = editsOf("(a cat:0)");
    assert.throws(() => zero.changeWeight([[1, 2]], 0.1), RewritingError);
    const literal = editsOf("a | cat b");
    literal.remove(find("a | cat b", "cat"));
    assert.throws(() => literal.changeWeight(find("a | cat b", "b"), 0.1), /one word can be changed at a time/u);
});

test("what the user typed is kept, and plain words are found in it", { skip }, () => {
    const edits = editsOf(PROMPT);
    const type = (prompt) => {
        edits.retype(prompt);
        edits.takeFrames(null);
    };
    type("🐱 a photo of a red cat and one more cat");
    edits.changeWeight(SECOND_CAT, 0.2);
    assert.equal(edits.prompt, "🐱 a photo of a red cat and one more (cat:1.2)");
    type("a red cat in a catalog of cats");
    assert.throws(() => edits.changeWeight(SECOND_CAT, 0.2), /not in the prompt/u);
    type("a dog");
    assert.throws(() => edits.changeWeight(RED, 0.1), /“red” is not in the prompt any more/u);
    assert.equal(edits.prompt, "a dog");
});

test("words of a text with syntax wait for frames of it, or for the picture's prompt", { skip }, () => {
    const typed = "one (red:1.2) cat";
    const edits = editsOf(PROMPT);
    edits.changeWeight(RED, 0.1);
    const changed = edits.prompt;
    edits.retype(typed);
    assert.equal(edits.frames, null);
    assert.throws(() => edits.changeWeight(RED, 0.1), /cannot be read here/u);
    edits.takeFrames(null);
    assert.throws(() => edits.changeWeight(RED, 0.1), /cannot be read here/u);
    assert.equal(edits.prompt, typed);
    edits.retype(`${typed} `);
    edits.retype(typed);
    edits.takeFrames(frames[typed]);
    edits.changeWeight(RED, 0.1);
    assert.equal(edits.prompt, "one (red:1.3) cat");
    assert.throws(() => edits.changeWeight(SECOND_CAT, 0.1), /not in the prompt/u);
    const other = editsOf(PROMPT);
    other.changeWeight(RED, 0.1);
    other.retype(`${changed}!`);
    other.retype(changed);
    other.undo();
    assert.equal(other.prompt, PROMPT);
});

test("a weight stops at 0, and a removed word cannot be changed", { skip }, () => {
    const edits = editsOf("a (cat:0.1)");
    edits.changeWeight([[3, 6]], -0.1);
    assert.equal(edits.weightOf([3, 6]), 0);
    assert.throws(() => edits.changeWeight([[3, 6]], -0.1), /“cat” has weight 0 already/u);
    assert.equal(edits.prompt, "a (cat:0)");
    edits.remove([[3, 6]]);
    assert.throws(() => edits.changeWeight([[3, 6]], 0.1), /not in the prompt/u);
});

// ---- The next picture, made of what was written

/** As it is remembered from one viewer to the next: plain data. */
const handOn = (edits) => JSON.parse(JSON.stringify(edits.remember()));

test("undo goes on through generations, and the words are those of the first prompt", { skip }, () => {
    const first = editsOf("a red cat");
    first.changeWeight(find("a red cat", "red"), 0.2);
    const second = new PromptEdits(first.prompt, frames["a (red:1.2) cat"]);
    second.adopt(handOn(first), first.prompt);
    assert.equal(second.weightOf(find(second.original.prompt, "red")[0]), 1.2);
    second.changeWeight(find(second.original.prompt, "cat"), 0.1);
    assert.equal(second.prompt, "a (red:1.2) (cat:1.1)");
    second.undo();
    second.undo();
    assert.equal(second.prompt, "a red cat");
    assert.ok(!second.canUndo);
});

test("what was typed since is not undone away", { skip }, () => {
    const first = editsOf("a red cat");
    first.changeWeight(find("a red cat", "red"), 0.2);
    const second = new PromptEdits("one (red:1.2) cat", frames["one (red:1.2) cat"]);
    second.adopt(handOn(first), "one (red:1.2) cat");
    assert.ok(!second.canUndo);
    assert.equal(second.prompt, "one (red:1.2) cat");
});

test("a word that the picture was made without is not taken for the one that is left", { skip }, () => {
    const prompt = "a (red:1.2) cat, a cat";
    const first = editsOf(prompt);
    first.remove(CAT);
    const second = new PromptEdits(first.prompt, null);
    second.adopt(handOn(first), first.prompt);
    const left = find(first.prompt, "cat");
    assert.ok(!second.isRemoved(left[0]));
    second.changeWeight(left, 0.1);
    assert.equal(second.prompt, first.prompt.replace(/cat/, "(cat:1.1)"));
});

test("a word is added at the end, and undone", { skip }, () => {
    const edits = editsOf("a red cat");
    edits.changeWeight(find("a red cat", "red"), 0.2);
    edits.append("star");
    assert.equal(edits.prompt, "a (red:1.2) cat, star");
    edits.undo();
    assert.equal(edits.prompt, "a (red:1.2) cat");
    edits.undo();
    assert.equal(edits.prompt, "a red cat");
});

test("a saved page has nobody's text to ask for: its own picture's changes come back", { skip }, () => {
    const first = editsOf("a red cat");
    first.changeWeight(find("a red cat", "red"), 0.2);
    const saved = editsOf("a red cat");
    saved.adopt(handOn(first), undefined);
    assert.equal(saved.prompt, "a (red:1.2) cat");
    const other = editsOf("[red] cat");
    other.adopt(handOn(first), undefined);
    assert.equal(other.prompt, "[red] cat");
});
