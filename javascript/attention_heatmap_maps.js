// The viewer's arithmetic: tiles of an atlas become maps, scaled, coloured and ranked. Knows no page.
// The same as daam/maps/heat_maps.py, daam/maps/scales.py, daam/pictures/blends.py and daam/pictures/colormaps.py do in Python.

(function () {
    "use strict";

    const CUBIC = -0.75; // torch's bicubic

    /** Of each target position the weights of its four neighbours and their clamped places: [4 * target] each. */
    function cubicTaps(source, target) {
        const taps = {weights: new Float64Array(4 * target), places: new Int32Array(4 * target)};
        const near = (x) => ((CUBIC + 2) * x - (CUBIC + 3)) * x * x + 1;
        const far = (x) => ((CUBIC * x - 5 * CUBIC) * x + 8 * CUBIC) * x - 4 * CUBIC;
        for (let at = 0; at < target; at++) {
            const center = ((at + 0.5) * source) / target - 0.5;
            const base = Math.floor(center);
            const t = center - base;
            taps.weights.set([far(t + 1), near(t), near(1 - t), far(2 - t)], 4 * at);
            taps.places.set([-1, 0, 1, 2].map((step) => Math.min(Math.max(base + step, 0), source - 1)), 4 * at);
        }
        return taps;
    }

    const knownTaps = new Map();

    /** All words of a picture are upscaled alike. */
    function tapsOf(source, target) {
        const key = `${source} ${target}`;
        if (!knownTaps.has(key)) {
            knownTaps.set(key, cubicTaps(source, target));
        }
        return knownTaps.get(key);
    }

    /** Adds a map [height * width] at another size, bicubic with half-pixel centres, to a total [newHeight * newWidth]. */
    function addUpscaled(total, values, height, width, newHeight, newWidth) {
        const {weights, places} = tapsOf(width, newWidth);
        const rows = new Float32Array(height * newWidth);
        for (let y = 0; y < height; y++) {
            const from = y * width;
            for (let x = 0, tap = 0; x < newWidth; x++, tap += 4) {
                rows[y * newWidth + x] =
                    weights[tap] * values[from + places[tap]] + weights[tap + 1] * values[from + places[tap + 1]] +
                    weights[tap + 2] * values[from + places[tap + 2]] + weights[tap + 3] * values[from + places[tap + 3]];
            }
        }
        const down = tapsOf(height, newHeight);
        for (let y = 0, tap = 0; y < newHeight; y++, tap += 4) {
            const [first, second, third, fourth] = [0, 1, 2, 3].map((k) => down.places[tap + k] * newWidth);
            const [one, two, three, four] = down.weights.subarray(tap, tap + 4);
            for (let x = 0, to = y * newWidth; x < newWidth; x++, to++) {
                total[to] += one * rows[first + x] + two * rows[second + x] + three * rows[third + x] + four * rows[fourth + x];
            }
        }
        return total;
    }

    const upscale = (values, height, width, newHeight, newWidth) =>
        addUpscaled(new Float32Array(newHeight * newWidth), values, height, width, newHeight, newWidth);

    /** One tile of the atlas [height * width] as numbers. */
    function tileValues(atlas, tile) {
        const block = atlas.blocks[`${tile.height}x${tile.width}`];
        const top = block.top + Math.floor(tile.number / block.columns) * tile.height;
        const left = (tile.number % block.columns) * tile.width;
        const values = new Float32Array(tile.height * tile.width);
        for (let y = 0; y < tile.height; y++) {
            for (let x = 0; x < tile.width; x++) {
                values[y * tile.width + x] = (atlas.pixels[(top + y) * atlas.width + left + x] / 255) * tile.max;
            }
        }
        return values;
    }

    /** The sum of a word's tiles, upscaled; without what bicubic puts below zero. */
    function compose(atlas, tiles, height, width) {
        const total = new Float32Array(height * width);
        tiles.forEach((tile) => addUpscaled(total, tileValues(atlas, tile), tile.height, tile.width, height, width));
        for (let at = 0; at < total.length; at++) {
            total[at] = total[at] > 0 ? total[at] : 0;
        }
        return total;
    }

    /** [lowest, highest] of all values. */
    function range(maps) {
        let lowest = Infinity;
        let highest = -Infinity;
        for (const map of maps) {
            for (let at = 0; at < map.length; at++) {
                lowest = map[at] < lowest ? map[at] : lowest;
                highest = map[at] > highest ? map[at] : highest;
            }
        }
        return [lowest, highest];
    }

    function joinedRange([lowest, highest], [otherLowest, otherHighest]) {
        return [Math.min(lowest, otherLowest), Math.max(highest, otherHighest)];
    }

    function stretch(map, [lowest, highest]) {
        const factor = highest > lowest ? 1 / (highest - lowest) : 0;
        const result = new Float32Array(map.length);
        for (let at = 0; at < map.length; at++) {
            const value = (map[at] - lowest) * factor;
            result[at] = value < 0 ? 0 : value > 1 ? 1 : value;
        }
        return result;
    }

    /** name: (map, range of all maps it is compared with, sum of all words) -> 0..1 */
    const SCALES = {
        shared: (map, others) => stretch(map, joinedRange(range([map]), others)),
        each: (map) => stretch(map, range([map])),
        share: (map, others, sum) => map.map((value, at) => Math.min(value / Math.max(sum[at], 1e-38), 1)),
    };

    function sumOf(maps, length) {
        const total = new Float32Array(length);
        for (const map of maps) {
            for (let at = 0; at < length; at++) {
                total[at] += map[at];
            }
        }
        return total;
    }

    /** How opaque the overlay is at a heat 0..1. Opacity 0 is the picture alone and 1 the map alone, whatever the heat. */
    const BLENDS = {
        heat: (heat, opacity) => opacity ** (5 * 0.05 ** heat),
        even: (heat, opacity) => opacity,
    };

    const levelOf = (heat) => Math.min(Math.floor(Math.max(heat, 0) * 256), 255);
    const alphas = (opacity, blend) => Array.from({length: 256}, (_, level) => Math.round(255 * BLENDS[blend](level / 255, opacity)));

    /** RGBA of a scaled map by a table of 256 colours [256 * 3]. */
    function colorize(scaled, table, opacity, blend = "even") {
        const palette = new Uint8Array(4 * 256);
        alphas(opacity, blend).forEach((alpha, level) => palette.set([...table.subarray(3 * level, 3 * level + 3), alpha], 4 * level));
        const colours = new Uint32Array(palette.buffer); // a pixel at once
        const pixels = new Uint32Array(scaled.length);
        for (let at = 0; at < scaled.length; at++) {
            pixels[at] = colours[levelOf(scaled[at])];
        }
        return new Uint8ClampedArray(pixels.buffer);
    }

    /** RGBA of several scaled maps, each in its colour [r, g, b]: the stronger map of a pixel has more of it. Without the
     * picture, at opacity 1, colours fade to black where there is no heat; over the picture they stay bright. */
    function mix(scaled, colours, opacity, blend = "even") {
        const pixels = new Uint8ClampedArray(scaled[0].length * 4);
        const alpha = alphas(opacity, blend);
        for (let at = 0; at < scaled[0].length; at++) {
            let total = 0;
            let highest = 0;
            for (const map of scaled) {
                total += map[at] * map[at];
                highest = Math.max(highest, map[at]);
            }
            for (let channel = 0; channel < 3 && total > 0; channel++) {
                let value = 0;
                for (let number = 0; number < scaled.length; number++) {
                    value += colours[number][channel] * scaled[number][at] * scaled[number][at];
                }
                pixels[4 * at + channel] = ((1 - opacity * (1 - highest)) * value) / total;
            }
            pixels[4 * at + 3] = alpha[levelOf(highest)];
        }
        return pixels;
    }

    /** Whether each pixel reaches the threshold, as a share of the map's highest value. */
    function mask(map, threshold) {
        const highest = range([map])[1];
        return Array.from(map, (value) => highest > 0 && value >= threshold * highest);
    }

    /** Places of a mask's pixels that have a neighbour outside it, or lie at the border. */
    function edges(inside, width) {
        const found = [];
        for (let at = 0; at < inside.length; at++) {
            const column = at % width;
            const around = [column > 0 && inside[at - 1], column < width - 1 && inside[at + 1], inside[at - width], inside[at + width]];
            if (inside[at] && !around.every(Boolean)) {
                found.push(at);
            }
        }
        return found;
    }

    /** Numbers of the maps by their mean within a rectangle [left, top, right, bottom), strongest first. */
    function rank(maps, width, [left, top, right, bottom]) {
        const means = maps.map((map) => {
            let sum = 0;
            for (let y = top; y < bottom; y++) {
                for (let x = left; x < right; x++) {
                    sum += map[y * width + x];
                }
            }
            return sum / Math.max((right - left) * (bottom - top), 1);
        });
        const total = means.reduce((sum, value) => sum + value, 0);
        return means
            .map((value, number) => ({number, share: total > 0 ? value / total : 0}))
            .sort((first, second) => second.share - first.share);
    }

    const maps = {BLENDS, upscale, tileValues, compose, SCALES, range, joinedRange, sumOf, colorize, mix, mask, edges, rank};
    globalThis.attentionHeatmap = globalThis.attentionHeatmap || {};
    globalThis.attentionHeatmap.maps = maps;
    if (typeof module !== "undefined") {
        module.exports = maps;
    }
})();
