// Colours for several words at once: far from each other, and from the picture where the word's map is strong.
// Distances are Euclidean in OKLab (Björn Ottosson, 2020). Knows no page.

(function () {
    "use strict";

    const SHARED = (globalThis.attentionHeatmap = globalThis.attentionHeatmap || {});
    // Told apart by most people, those with colour-blindness too; after Okabe and Ito (2008), and Trubetskoy (2017).
    const PALETTE = [
        "#ffd400", "#00c2ff", "#ff4fa3", "#2fe06c", "#ff7a1a", "#8f6bff", "#e02424", "#00d9b8", "#1f6bff", "#c8f03c",
        "#d63cff", "#0a7d3c",
    ];
    const GOLDEN_ANGLE = 137.508;
    const GROUND_MATTERS = 0.7; // against the distance to the other words' colours

    const rgbOf = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
    const hexOf = (rgb) => `#${rgb.map((value) => Math.round(value).toString(16).padStart(2, "0")).join("")}`;

    function oklab(rgb) {
        const [r, g, b] = rgb.map((value) => value / 255).map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
        const [l, m, s] = [
            0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b,
            0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b,
            0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b,
        ].map(Math.cbrt);
        return [
            0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
            1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
            0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
        ];
    }

    const distance = (one, other) => Math.hypot(...one.map((value, at) => value - other[at]));

    /** The nth colour behind the palette's: the hue turns by the golden angle. */
    function further(number) {
        const [hue, light] = [(number * GOLDEN_ANGLE) % 360, 0.35 + 0.4 * ((number * 0.618) % 1)];
        const chroma = (1 - Math.abs(2 * light - 1)) * 0.9;
        const channel = (shift) => {
            const k = (shift + hue / 30) % 12;
            return 255 * (light - (chroma / 2) * Math.max(-1, Math.min(k - 3, 9 - k, 1)));
        };
        return hexOf([channel(0), channel(8), channel(4)]);
    }

    /** A colour that is not taken: "#rrggbb".
     * @param taken the other words' colours
     * @param ground [[r, g, b], weight] of the picture where the word looks; may be empty
     */
    function pickColour(taken, ground) {
        const others = taken.map((colour) => oklab(rgbOf(colour)));
        const below = ground.filter(([, weight]) => weight > 0).map(([rgb, weight]) => [oklab(rgb), weight]);
        const total = below.reduce((sum, [, weight]) => sum + weight, 0);
        const scoreOf = (colour) => {
            const own = oklab(rgbOf(colour));
            const apart = Math.min(1, ...others.map((other) => distance(own, other)));
            const above = below.reduce((sum, [rgb, weight]) => sum + weight * distance(own, rgb), 0) / (total || 1);
            return Math.min(apart, total > 0 ? GROUND_MATTERS * above : 1);
        };
        const more = Array.from({length: taken.length + 1}, (_, number) => further(number));
        const free = [...PALETTE, ...(taken.length < PALETTE.length / 2 ? [] : more)].filter((colour) => !taken.includes(colour));
        const scores = free.map(scoreOf);
        return free[scores.indexOf(Math.max(...scores))];
    }

    Object.assign(SHARED, {pickColour, rgbOf});
    if (typeof module !== "undefined") {
        module.exports = {pickColour, rgbOf, oklab, distance};
    }
})();
