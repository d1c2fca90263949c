// The viewer's changes of a prompt: undone, taken back out of order, and carried on after the user typed.
"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const PromptEdits = require("../../javascript/attention_heatmap_edits.js");

const PROMPT = "a (red:1.2) cat, a cat";
const RED = [3, 6];
const CAT = [12, 15];
const SECOND_CAT = [19, 22];

test("changes are undone one by one", () => {
    const edits = new PromptEdits(PROMPT);
    edits.changeWeight(RED, 0.1);
    edits.changeWeight(CAT, -0.1);
    assert.equal(edits.prompt, "a (red:1.3) (cat:0.9), a cat");
    edits.undo();
    assert.equal(edits.prompt, "a (red:1.3) cat, a cat");
    edits.undo();
    assert.equal(edits.prompt, PROMPT);
    assert.ok(!edits.canUndo);
});

test("a removed word is restored while later changes stay", () => {
    const edits = new PromptEdits(PROMPT);
    edits.changeWeight(RED, 0.1);
    edits.remove(RED);
    edits.changeWeight(SECOND_CAT, 0.1);
    assert.equal(edits.prompt, "a cat, a (cat:1.1)");
    assert.ok(edits.isRemoved(RED));
    edits.restore(RED);
    assert.equal(edits.prompt, "a (red:1.3) cat, a (cat:1.1)");
    assert.equal(edits.weightOf(RED), 1.3);
});

test("of equal words the one that was meant is changed, also after another went", () => {
    const edits = new PromptEdits(PROMPT);
    edits.remove(CAT);
    edits.changeWeight(SECOND_CAT, 0.1);
    assert.equal(edits.prompt, "a (red:1.2), a (cat:1.1)");
});

test("what the user typed is kept, and words are found in it", () => {
    const edits = new PromptEdits(PROMPT);
    edits.retype("🐱 a photo of a red cat and one more cat");
    edits.changeWeight(SECOND_CAT, 0.2);
    assert.equal(edits.prompt, "🐱 a photo of a red cat and one more (cat:1.2)");
    edits.retype("a red cat in a catalog of cats");
    assert.throws(() => edits.changeWeight(SECOND_CAT, 0.2), /not in the prompt/u);
    edits.retype("a dog");
    assert.throws(() => edits.changeWeight(RED, 0.1), /“red” is not in the prompt any more/u);
    assert.equal(edits.prompt, "a dog");
});

test("a weight stops at 0, and a removed word cannot be changed", () => {
    const edits = new PromptEdits("a (cat:0.1)");
    edits.changeWeight([3, 6], -0.1);
    assert.equal(edits.weightOf([3, 6]), 0);
    assert.throws(() => edits.changeWeight([3, 6], -0.1), /has weight 0 already/u);
    assert.equal(edits.prompt, "a (cat:0)");
    edits.remove([3, 6]);
    assert.throws(() => edits.changeWeight([3, 6], 0.1), /not in the prompt/u);
});
