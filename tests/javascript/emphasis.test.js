// The rewriting of emphasis in JavaScript agrees with Python's on every shared vector.

const assert = require("node:assert/strict");
const { readFileSync } = require("node:fs");
const path = require("node:path");
const { test } = require("node:test");

const emphasis = require("../../javascript/attention_heatmap_emphasis.js");

const { vectors } = JSON.parse(readFileSync(path.join(__dirname, "..", "data", "rewriting_vectors.json"), "utf-8"));

function replay({ prompt, span, operation, value, negative }) {
    const settings = { negative: Boolean(negative) };
    try {
        const act = { set: emphasis.setWeight, change: emphasis.changeWeight }[operation];
        const done = act ? act(prompt, span, value, settings) : emphasis.remove(prompt, span, settings);
        checkPlaces(prompt, done);
        return { prompt: done.prompt, span: done.span };
    } catch (error) {
        assert.ok(error instanceof emphasis.RewritingError, String(error && error.stack));
        return { error: true };
    }
}

/** Every letter that is still there stands where the places say, in order. */
function checkPlaces(prompt, { prompt: changed, places }) {
    const [before, after] = [Array.from(prompt), Array.from(changed)];
    assert.equal(places.length, before.length);
    places.forEach((place, at) => assert.ok(place === null || after[place] === before[at], `letter ${at}`));
    const kept = places.filter((place) => place !== null);
    assert.deepEqual(kept, [...new Set(kept)].sort((one, other) => one - other));
}

for (const [number, vector] of vectors.entries()) {
    test(`${number}: ${vector.operation} ${vector.value} in ${JSON.stringify(vector.prompt)}`, () => {
        assert.deepEqual(replay(vector), vector.result);
    });
}

test("there are vectors", () => assert.ok(vectors.length >= 150));

test("nonsense is refused with a message", () => {
    for (const weight of [NaN, Infinity, "1.2", null, 1001]) {
        assert.throws(() => emphasis.setWeight("a cat", [2, 5], weight), emphasis.RewritingError);
    }
    assert.throws(() => emphasis.setWeight("a cat", [2, 99], 1.2), /span/u);
    assert.throws(() => emphasis.setWeight("<lora:x:1> a", [0, 5], 1.2), /extra-network tag/u);
});

test("spans are converted between code points and the units of a text box", () => {
    assert.deepEqual(emphasis.toUnits("🐱 cat", [2, 5]), [3, 6]);
    assert.deepEqual(emphasis.toPoints("🐱 cat", [3, 6]), [2, 5]);
});

test("the weight of words counts every bracket around them", () => {
    assert.equal(emphasis.weightAt("a (red (cat:1.5):2)", [8, 11]), 3);
    assert.equal(emphasis.weightAt("a cat", [2, 5]), 1);
});

test("a long prompt with fifteen schedules takes less than a second", () => {
    const prompt = "(a red cat:1.2), [dog|cow], ".repeat(15);
    const started = performance.now();
    emphasis.changeWeight(prompt, [3, 6], 0.1);
    assert.ok(performance.now() - started < 1000);
});
