// The maps of a picture's words at the size at which they are looked at, made from the atlas when they are asked for.
//
// A view says what is looked at: {resolution: "all" or "16x16", step: 0 for all or 1.., scale: a name of maps.SCALES,
// reading: "plain" or another way to read the trace, which is one of all layers and steps}.

(function () {
    "use strict";

    const SHARED = (globalThis.attentionHeatmap = globalThis.attentionHeatmap || {});
    const LONGEST_SIDE = 256; // the browser smooths the maps over the picture
    const MOST_PIXELS = 4e6; // of the maps of all words, so that a long prompt does not keep the first hover waiting
    const MOST_CACHED = 256;

    function loadImage(url) {
        return new Promise((resolve, reject) => {
            const image = new Image();
            image.onload = () => resolve(image);
            image.onerror = () => reject(new Error("an image of the viewer cannot be read"));
            image.src = url;
        });
    }

    function grey(image) {
        const canvas = document.createElement("canvas");
        canvas.width = image.naturalWidth;
        canvas.height = image.naturalHeight;
        const context = canvas.getContext("2d", {willReadFrequently: true});
        context.drawImage(image, 0, 0);
        const rgba = context.getImageData(0, 0, canvas.width, canvas.height).data;
        return Uint8Array.from({length: rgba.length / 4}, (_, at) => rgba[4 * at]);
    }

    const nameOf = (tile) => `${tile.height}x${tile.width}`;
    const whenIdle = (task) => (globalThis.requestIdleCallback || setTimeout)(task);

    class WordMaps {
        /** `words`: the chips that have maps; those of the positive prompt are compared with each other. */
        constructor(atlas, words, regionWidth, regionHeight) {
            const longest = Math.min(LONGEST_SIDE, Math.sqrt(MOST_PIXELS / Math.max(1, words.length)));
            const factor = Math.min(1, longest / Math.max(regionWidth, regionHeight));
            this.mostCached = Math.max(MOST_CACHED, 2 * words.length);
            this.width = Math.max(1, Math.round(regionWidth * factor));
            this.height = Math.max(1, Math.round(regionHeight * factor));
            this.words = words;
            this.compared = words.filter((chip) => chip.side === "positive");
            const areas = new Map(words.flatMap((chip) => chip.tiles).map((tile) => [nameOf(tile), tile.height * tile.width]));
            this.resolutions = [...areas.keys()].sort((one, other) => areas.get(other) - areas.get(one));
            this.source = atlas;
            this.cache = new Map();
            this.comparisons = new Map();
            this.isGone = false;
        }

        async load() {
            const image = await loadImage(this.source.image);
            this.atlas = {blocks: this.source.blocks, width: image.naturalWidth, pixels: grey(image)};
            this.prepare([...this.words]);
        }

        /** Makes the maps one by one while the page has nothing else to do, so that the first hover need not wait. */
        prepare(words) {
            whenIdle(() => {
                const chip = words.shift();
                if (chip && !this.isGone) {
                    this.of(chip, {resolution: "all", step: 0});
                    this.prepare(words);
                }
            });
        }

        /** One word's map [height * width]; zeros where it has none in this view. */
        of(chip, view) {
            const key = `${viewName(view)} ${chip.number}`;
            if (!this.cache.has(key)) {
                if (this.cache.size >= this.mostCached) {
                    this.cache.clear();
                }
                this.cache.set(key, SHARED.maps.compose(this.atlas, tilesOf(chip, view), this.height, this.width));
            }
            return this.cache.get(key);
        }

        sum(chips, view) {
            return SHARED.maps.sumOf(chips.map((chip) => this.of(chip, view)), this.width * this.height);
        }

        /** The mean map of several words, brought to 0..1; `beside` are the maps of a picture that is looked at with this one. */
        scaled(chips, view, beside = null) {
            const mean = chips.length === 1 ? this.of(chips[0], view) : this.sum(chips, view).map((value) => value / chips.length);
            const {range, sum} = this.comparison(view);
            const all = beside ? SHARED.maps.joinedRange(range, beside.comparison(view).range) : range;
            return SHARED.maps.SCALES[view.scale](mean, all, sum);
        }

        /** What the shared scales compare with; single steps with the strongest of all steps. */
        comparison(view) {
            const key = viewName(view);
            if (!this.comparisons.has(key)) {
                const maps = this.compared.map((chip) => this.of(chip, view));
                const highest = Math.max(0, ...this.compared.flatMap((chip) => chip.step_tiles.map((tile) => tile.max)));
                this.comparisons.set(key, {
                    range: view.step ? [0, highest] : SHARED.maps.range(maps),
                    sum: SHARED.maps.sumOf(maps, this.width * this.height),
                });
            }
            return this.comparisons.get(key);
        }

        /** Where any of the groups' maps reaches the threshold, as a share of its highest value. */
        mask(groups, view, threshold) {
            const masks = groups.map((group) => SHARED.maps.mask(this.sum(group, view), threshold));
            return Array.from({length: this.width * this.height}, (_, at) => masks.some((mask) => mask[at]));
        }

        /** [{chip, share}] of the prompt's words within a rectangle [left, top, right, bottom): measured, so on plain maps. */
        rank(rectangle, view) {
            const maps = this.compared.map((chip) => this.of(chip, {...view, reading: "plain"}));
            return SHARED.maps.rank(maps, this.width, rectangle).map(({number, share}) => ({chip: this.compared[number], share}));
        }

        forget() {
            this.isGone = true;
            this.cache.clear();
        }
    }

    const isOfAll = (view) => view.resolution === "all" && !view.step;
    const viewName = (view) => `${view.resolution} ${view.step} ${(isOfAll(view) && view.reading) || "plain"}`;

    /** Words that a reading does not change, and parts of the trace, are plain. */
    function tilesOf(chip, view) {
        if (isOfAll(view) && chip.readings?.[view.reading]) {
            return chip.readings[view.reading];
        }
        if (view.step) {
            return chip.step_tiles.slice(view.step - 1, view.step);
        }
        return chip.tiles.filter((tile) => view.resolution === "all" || view.resolution === nameOf(tile));
    }

    Object.assign(SHARED, {WordMaps, loadImage, isOfAll});
})();
