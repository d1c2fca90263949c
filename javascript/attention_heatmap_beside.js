// What lies beside the picture: the result before it with the same words, several words apart, and the legend.

(function () {
    "use strict";

    const SHARED = (globalThis.attentionHeatmap = globalThis.attentionHeatmap || {});
    const BAR_STOPS = 12;

    /** Of the data of an earlier result: its words by key, their strengths, and its maps, which are read when asked for. */
    function earlierOf(data) {
        const chips = data.prompts.flatMap((each) => each.chips.map((chip) => ({...chip, side: each.side, each})));
        chips.forEach((chip, number) => (chip.number = number));
        SHARED.nameChips(chips);
        const words = chips.filter((chip) => chip.kind === "word" && chip.tiles.length > 0);
        return {data, words, strengths: new Map(words.map((chip) => [chip.key, chip.strength])), maps: null};
    }

    class Beside {
        constructor(viewer) {
            this.viewer = viewer;
            this.before = SHARED.parts.make("div", "before");
            this.before.hidden = true;
            this.multiples = SHARED.parts.make("div", "multiples");
        }

        get maps() {
            return this.earlier?.maps || null;
        }

        /** Shows the earlier result's picture; null takes it away. */
        async showBefore(earlier) {
            this.earlier = null;
            this.before.hidden = earlier === null;
            this.before.replaceChildren();
            this.viewer.root.classList.toggle("attention-heatmap-comparing", earlier !== null);
            if (earlier === null) {
                return;
            }
            if (!earlier.maps) {
                earlier.maps = new SHARED.WordMaps(earlier.data.atlas, earlier.words, ...SHARED.viewer.sizeOf(earlier.data));
                await earlier.maps.load();
            }
            this.earlier = earlier;
            this.stage = new SHARED.Stage(earlier.data, earlier.maps, this.viewer.look.colormaps, null);
            this.stage.picture.alt = "the picture of the result before";
            this.before.replaceChildren(this.stage.element, SHARED.parts.make("span", "tag", "before"));
        }

        draw(groups, colours, look) {
            if (!this.earlier) {
                return;
            }
            const resolution = this.maps.resolutions.includes(look.resolution) ? look.resolution : "all";
            const found = groups.map((group) => SHARED.matching(this.earlier.words, group.map((chip) => chip.key)));
            const shown = found.map((group, at) => [group, colours[at]]).filter(([group]) => group.length > 0);
            this.stage.draw(shown.map(([group]) => group), shown.map(([, colour]) => colour), {...look, resolution, step: 0}, this.viewer.maps);
        }

        /** A small picture for each group; null leaves those that are there, while a word is hovered. */
        drawMultiples(groups, look) {
            if (groups === null) {
                return;
            }
            if (this.multiples.childElementCount !== groups.length) {
                this.stages = groups.map(() => new SHARED.Stage(this.viewer.data, this.viewer.maps, this.viewer.look.colormaps, null));
                this.multiples.replaceChildren(...this.stages.map((stage) => this.buildMultiple(stage)));
            }
            groups.forEach((group, number) => {
                this.multiples.children[number].lastChild.textContent = `${SHARED.textOf(group)} ${SHARED.parts.percent(SHARED.strengthOf(group))}`;
                this.stages[number].draw([group], [null], look);
            });
        }

        buildMultiple(stage) {
            const figure = SHARED.parts.make("figure", "multiple");
            figure.append(stage.element, SHARED.parts.make("figcaption", ""));
            return figure;
        }
    }

    /** Under the picture: which colour is which word, or what the colormap's ends are. */
    class Legend {
        constructor(viewer) {
            this.viewer = viewer;
            this.element = SHARED.parts.make("div", "legend");
        }

        show(groups, colours) {
            const {make} = SHARED.parts;
            if (groups.length === 0) {
                this.element.replaceChildren(make("span", "hint", "Point at a word or at the picture"));
                return;
            }
            const entries = groups.map((group, at) => {
                const entry = make("span", "legend-entry");
                if (groups.length > 1) {
                    const swatch = make("span", "swatch");
                    swatch.style.background = colours[at];
                    entry.append(swatch);
                }
                entry.append(make("span", "", `${SHARED.textOf(group)} ${this.numbers(group)}`));
                return entry;
            });
            const reading = this.viewer.look.reading;
            const isRead = reading && groups.flat().some((chip) => chip.readings?.[reading.name]);
            const note = isRead ? [make("span", "hint", reading.note)] : [];
            this.element.replaceChildren(...entries, ...(groups.length === 1 ? [this.bar()] : []), ...note);
        }

        /** "14 %", or "12 % → 14 %" where the result before is known. */
        numbers(group) {
            const {percent} = SHARED.parts;
            const before = group.map((chip) => this.viewer.earlier?.strengths.get(chip.key));
            const now = percent(SHARED.strengthOf(group));
            const isKnown = group[0].side !== "probe" && before.every((strength) => strength !== undefined);
            return isKnown ? `${percent(before.reduce((sum, strength) => sum + strength, 0))} → ${now}` : now;
        }

        bar() {
            const {colormap} = this.viewer.look.state;
            const table = this.viewer.look.colormaps[colormap];
            const stops = Array.from({length: BAR_STOPS}, (_, at) => 3 * Math.round((255 * at) / (BAR_STOPS - 1)));
            const bar = SHARED.parts.make("span", "colour-bar");
            bar.style.background = `linear-gradient(to right, ${stops.map((at) => `rgb(${table[at]}, ${table[at + 1]}, ${table[at + 2]})`).join(", ")})`;
            const box = SHARED.parts.make("span", "legend-bar");
            box.append(SHARED.parts.make("span", "", "less"), bar, SHARED.parts.make("span", "", "more"));
            return box;
        }
    }

    Object.assign(SHARED, {earlierOf, Beside, Legend});
})();
