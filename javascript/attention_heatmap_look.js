// How the maps look: the viewer's bar of controls, and what was chosen with them.

(function () {
    "use strict";

    const SHARED = (globalThis.attentionHeatmap = globalThis.attentionHeatmap || {});
    const PLAY_MILLISECONDS = 250;
    const SEVERAL = [["together", "in colours"], ["apart", "side by side"]];
    const BLENDS = [["heat", "where there is heat"], ["even", "evenly"]];
    const SCALES = {shared: "all words alike", each: "each by itself", share: "share of the spot"};

    class Look {
        /** `chosen`: what the user chose for an earlier picture; all else is as the settings say. */
        constructor(data, maps, chosen, onChange) {
            Object.assign(this, {data, maps, onChange, chosen: {...chosen}});
            const usual = {opacity: 0.5, blend: "heat", threshold: 0, resolution: "all", step: 0, several: "together", reading: "plain"};
            this.readings = data.readings || [];
            this.colormaps = Object.fromEntries(Object.entries(data.colormaps).map(([name, text]) => [name, tableOf(text)]));
            if (this.chosen.resolution !== undefined && !maps.resolutions.includes(this.chosen.resolution)) {
                delete this.chosen.resolution;
            }
            if (this.chosen.colormap !== undefined && !(this.chosen.colormap in this.colormaps)) {
                delete this.chosen.colormap;
            }
            if (this.chosen.reading !== undefined && !this.readings.some(({name}) => name === this.chosen.reading)) {
                delete this.chosen.reading;
            }
            if (this.chosen.step > data.steps) {
                delete this.chosen.step;
            }
            this.state = {...usual, ...data.settings, ...this.chosen};
        }

        /** The reading that the maps are shown in now; parts of the trace have the plain one alone. */
        get reading() {
            const name = SHARED.isOfAll(this.state) ? this.state.reading : "plain";
            return this.readings.find((each) => each.name === name) || null;
        }

        /** Opacity, the reading where there are several, steps where they were kept, and more behind a button. */
        buildBar(more) {
            const {make, slider, select} = SHARED.parts;
            const bar = make("div", "controls");
            bar.append(this.control("opacity", "Opacity", slider(this.state.opacity)));
            if (this.readings.length > 1) {
                const box = this.control("reading", "Map", select(this.readings.map(({name}) => name), this.state.reading));
                box.title = this.readings.map(({name, help}) => `${name}: ${help}`).join("\n");
                bar.append(box);
            }
            if (this.data.steps > 0) {
                bar.append(...this.buildSteps());
            }
            const fold = make("details", "look");
            const rest = make("div", "look-items");
            const layers = this.maps.resolutions.map((name) => [name, name.replace("x", "×")]);
            rest.append(
                this.control("colormap", "Colormap", select(Object.keys(this.colormaps), this.state.colormap)),
                this.control("scale", "Scale", select(Object.keys(SHARED.maps.SCALES).map((name) => [name, SCALES[name] || name]), this.state.scale)),
                this.control("blend", "Blend", select(BLENDS, this.state.blend)),
                this.control("resolution", "Layers", select([["all", "all"], ...layers], this.state.resolution)),
                this.control("several", "Several words", select(SEVERAL, this.state.several)),
                this.control("threshold", "Outline", slider(this.state.threshold))
            );
            fold.append(make("summary", "action", "Look"), rest);
            bar.append(make("span", "space"), ...more, fold);
            return bar;
        }

        control(name, label, input) {
            const box = SHARED.parts.make("label", "control");
            box.append(SHARED.parts.make("span", "", label), input);
            input.addEventListener("input", () => {
                this.chosen[name] = this.state[name] = input.type === "range" ? Number(input.value) : input.value;
                this.onChange();
            });
            return box;
        }

        /** Step 0 stands for all of them together. */
        buildSteps() {
            const {make, button, slider} = SHARED.parts;
            const input = slider(this.state.step, this.data.steps, 1);
            const box = this.control("step", "Step", input);
            const label = make("span", "step");
            const tell = () => (label.textContent = this.state.step ? `${this.state.step} of ${this.data.steps}` : "all");
            this.playButton = button("action", "Play", "show the steps one after the other", () => {
                if (this.playing) {
                    this.pause();
                    return;
                }
                this.playButton.textContent = "Pause";
                this.playing = setInterval(() => {
                    input.value = this.state.step = (this.state.step % this.data.steps) + 1;
                    tell();
                    this.onChange();
                }, PLAY_MILLISECONDS);
            });
            input.addEventListener("input", () => {
                this.pause();
                tell();
            });
            tell();
            return [box, label, this.playButton];
        }

        pause() {
            clearInterval(this.playing);
            this.playing = null;
            if (this.playButton) {
                this.playButton.textContent = "Play";
            }
        }
    }

    const tableOf = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));

    SHARED.Look = Look;
})();
