// The viewer's arithmetic against numbers that the Python side made; VECTORS names their file.
"use strict";

const assert = require("node:assert");
const {readFileSync} = require("node:fs");
const {test} = require("node:test");
const maps = require("../../javascript/attention_heatmap_maps.js");

const vectors = process.env.VECTORS ? JSON.parse(readFileSync(process.env.VECTORS, "utf-8")) : null;
const skip = vectors ? false : "VECTORS is not set; pytest tests/viewer sets it";

function close(found, expected, tolerance) {
    assert.strictEqual(found.length, expected.length);
    found.forEach((value, at) => assert.ok(Math.abs(value - expected[at]) <= tolerance, `${at}: ${value}, ${expected[at]}`));
}

test("upscaling is torch's bicubic", {skip}, () => {
    for (const {values, size, target, expected} of vectors.upscale) {
        close([...maps.upscale(Float32Array.from(values), ...size, ...target)], expected, 1e-5);
    }
});

test("every scale gives what Python gives", {skip}, () => {
    assert.deepStrictEqual(Object.keys(maps.SCALES).sort(), Object.keys(vectors.scales).sort());
    for (const [name, expected] of Object.entries(vectors.scales)) {
        const all = vectors.maps.map((map) => Float32Array.from(map));
        const sum = maps.sumOf(all, all[0].length);
        all.forEach((map, number) => close([...maps.SCALES[name](map, maps.range(all), sum)], expected[number], 1e-5));
    }
});

test("colours are those of the table", {skip}, () => {
    const pixels = maps.colorize(Float32Array.from(vectors.colours.values), Uint8Array.from(vectors.colours.table), 1);
    vectors.colours.expected.forEach((colour, at) => assert.deepStrictEqual([...pixels.slice(4 * at, 4 * at + 3)], colour));
});

test("masks reach the threshold of the highest value", {skip}, () => {
    assert.deepStrictEqual(maps.mask(Float32Array.from(vectors.maps[0]), 0.4), vectors.mask);
});

test("words of a region are ranked as in Python", {skip}, () => {
    const all = vectors.maps.map((map) => Float32Array.from(map));
    for (const {box, expected} of vectors.rank) {
        const ranked = maps.rank(all, 5, box);
        assert.deepStrictEqual(ranked.map((each) => each.share).sort((one, other) => other - one), ranked.map((each) => each.share));
        ranked.forEach(({number, share}) => close([share], [expected[number]], 1e-5));
    }
});

test("words are ranked by their share of a rectangle", () => {
    const first = Float32Array.from([0, 0, 4, 4]);
    const second = Float32Array.from([1, 1, 0, 0]);
    assert.deepStrictEqual(maps.rank([first, second], 2, [0, 0, 2, 1]), [{number: 1, share: 1}, {number: 0, share: 0}]);
    assert.deepStrictEqual(maps.rank([first, second], 2, [0, 0, 2, 2]), [{number: 0, share: 0.8}, {number: 1, share: 0.2}]);
});

test("blends are as opaque as in Python at every level of heat", {skip}, () => {
    assert.deepStrictEqual(Object.keys(maps.BLENDS).sort(), Object.keys(vectors.blends).sort());
    for (const [name, cases] of Object.entries(vectors.blends)) {
        for (const [opacity, expected] of cases) {
            close(expected.map((_, level) => maps.BLENDS[name](level / 255, opacity)), expected, 1e-5);
        }
    }
});

test("several words are mixed by their strength, each in its colour, and alone fade to black", () => {
    const words = [[Float32Array.from([1, 0, 0.5]), Float32Array.from([0, 0, 0.5])], [[200, 0, 0], [0, 100, 0]]];
    assert.deepStrictEqual([...maps.mix(...words, 1)], [200, 0, 0, 255, 0, 0, 0, 255, 50, 25, 0, 255]);
    assert.deepStrictEqual([...maps.mix(...words, 0.5)].slice(8), [75, 38, 0, 128]);
    const byHeat = maps.mix(...words, 0.5, "heat");
    assert.ok(byHeat[3] > 200 && byHeat[7] < 20);
});

test("the edge of a mask does not run over from one row to the next", () => {
    const all = Array(12).fill(true);
    assert.deepStrictEqual(maps.edges(all, 4), [0, 1, 2, 3, 4, 7, 8, 9, 10, 11]);
    assert.deepStrictEqual(maps.edges([false, false, true, true, false, false], 3), [2, 3]);
});
