// The interactive viewer of one picture: words as chips, their maps over the picture, and what can be done with them.
//
// attentionHeatmap.viewer.mount(element, data, callbacks) shows the data of daam/viewer/data.py in the element and gives
// {destroy, setPrompt}. Callbacks, all optional: onPromptChange(prompt), onUseTerms(terms), onSendMask(dataUrl).
// Text from prompts only ever goes through textContent.

(function () {
    "use strict";

    const SHARED = (globalThis.attentionHeatmap = globalThis.attentionHeatmap || {});
    const LONGEST_SIDE = 256; // of the maps while they are looked at; the browser smooths them over the picture
    const PIN_COLOURS = ["#ff5d5d", "#4ea8ff", "#5ddf7a", "#ffc44e", "#d07bff", "#4ee0e0"];
    const MOST_RANKED = 6;

    function make(tag, className, text) {
        const element = document.createElement(tag);
        element.className = className ? `attention-heatmap-${className}` : "";
        if (text !== undefined) {
            element.textContent = text;
        }
        return element;
    }

    function button(className, text, label, onClick) {
        const element = make("button", className, text);
        element.type = "button";
        element.title = label;
        element.setAttribute("aria-label", label);
        element.addEventListener("click", onClick);
        return element;
    }

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

    function table(base64) {
        return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    }

    class Viewer {
        constructor(root, data, callbacks) {
            this.root = root;
            this.data = data;
            this.callbacks = callbacks || {};
            this.state = {...data.settings, threshold: 0, resolution: "all"};
            this.pins = [];
            this.current = null;
            this.cache = new Map();
            this.frame = 0;
            this.history = [];
            const [left, top, width, height] = data.region || [0, 0, data.width, data.height];
            this.region = {left, top, width, height};
            const factor = Math.min(1, LONGEST_SIDE / Math.max(width, height));
            this.width = Math.max(1, Math.round(width * factor));
            this.height = Math.max(1, Math.round(height * factor));
            this.colormaps = Object.fromEntries(Object.entries(data.colormaps).map(([name, text]) => [name, table(text)]));
            const prompt = data.prompts.find((each) => each.side === "positive");
            this.prompt = prompt ? prompt.prompt : "";
            this.chips = data.prompts.flatMap((each) => each.chips.map((chip) => ({...chip, side: each.side, each})));
            this.words = this.chips.filter((chip) => chip.kind === "word" && chip.tiles.length > 0);
            this.build();
            this.ready = this.load();
        }

        async load() {
            const image = await loadImage(this.data.atlas.image);
            this.atlas = {blocks: this.data.atlas.blocks, width: image.naturalWidth, pixels: grey(image)};
            this.root.dataset.ready = "true";
            this.draw();
        }

        // ---- What is shown

        build() {
            this.root.classList.add("attention-heatmap-viewer");
            this.root.replaceChildren(this.buildControls(), this.buildStage(), this.buildPrompts(), this.buildActions(), this.buildObservations());
        }

        buildControls() {
            const bar = make("div", "controls");
            const control = (name, label, input) => {
                const box = make("label", "control");
                box.append(make("span", "", label), input);
                input.addEventListener("input", () => {
                    this.state[name] = input.type === "range" ? Number(input.value) : input.value;
                    this.scaled = null;
                    this.draw();
                });
                bar.append(box);
            };
            const slider = (value) => {
                const input = document.createElement("input");
                Object.assign(input, {type: "range", min: 0, max: 1, step: 0.01, value});
                return input;
            };
            const select = (names, value) => {
                const input = document.createElement("select");
                for (const name of names) {
                    const option = document.createElement("option");
                    option.value = option.textContent = name;
                    input.append(option);
                }
                input.value = value;
                return input;
            };
            control("opacity", "Opacity", slider(this.state.opacity));
            control("colormap", "Colormap", select(Object.keys(this.colormaps), this.state.colormap));
            control("scale", "Scale", select(Object.keys(SHARED.maps.SCALES), this.state.scale));
            control("resolution", "Layers", select(["all", ...Object.keys(this.data.atlas.blocks)], "all"));
            control("threshold", "Outline", slider(0));
            return bar;
        }

        buildStage() {
            this.stage = make("div", "stage");
            this.stage.tabIndex = 0;
            this.stage.setAttribute("role", "img");
            this.stage.setAttribute("aria-label", "the picture with the heat maps of the chosen words");
            const picture = document.createElement("img");
            picture.src = this.data.picture;
            picture.alt = "";
            picture.draggable = false;
            this.canvas = document.createElement("canvas");
            this.canvas.width = this.width;
            this.canvas.height = this.height;
            const percent = (part, whole) => `${(100 * part) / whole}%`;
            Object.assign(this.canvas.style, {
                left: percent(this.region.left, this.data.width), top: percent(this.region.top, this.data.height),
                width: percent(this.region.width, this.data.width), height: percent(this.region.height, this.data.height),
            });
            this.box = make("div", "box");
            this.ranking = make("ol", "ranking");
            this.ranking.setAttribute("aria-live", "polite");
            this.stage.append(picture, this.canvas, this.box);
            this.stage.addEventListener("pointermove", (event) => this.onPointerMove(event));
            this.stage.addEventListener("pointerdown", (event) => this.onPointerDown(event));
            this.stage.addEventListener("pointerup", () => (this.dragged = this.dragStart ? this.dragged : null));
            this.stage.addEventListener("pointerup", () => (this.dragStart = null));
            this.stage.addEventListener("pointerleave", () => {
                if (!this.dragged) {
                    this.ranking.replaceChildren();
                }
            });
            const side = make("div", "side");
            side.append(make("p", "hint", "Hover the picture or drag a box: the words of that spot."), this.ranking);
            const row = make("div", "row");
            row.append(this.stage, side);
            return row;
        }

        buildPrompts() {
            const box = make("div", "prompts");
            this.buttons = new Map();
            for (const each of this.data.prompts) {
                const parts = each.side === "probe" ? [1] : each.parts;
                parts.forEach((weight, part) => {
                    const chips = this.chips.filter((chip) => chip.each === each && chip.part === part);
                    if (chips.length === 0) {
                        return;
                    }
                    const name = {positive: "Prompt", negative: "Negative prompt", probe: "Probed"}[each.side];
                    const row = make("div", "chips");
                    row.setAttribute("role", "group");
                    row.setAttribute("aria-label", name);
                    row.append(make("span", "label", parts.length > 1 ? `${name}, part ${part + 1} × ${weight}` : name));
                    chips.forEach((chip) => row.append(this.buildChip(chip)));
                    box.append(row);
                });
            }
            box.addEventListener("keydown", (event) => this.onChipKey(event));
            return box;
        }

        buildChip(chip) {
            const element = button("chip", "", this.chipLabel(chip), (event) => this.onChipClick(chip, event));
            element.append(make("span", "chip-text", chip.text));
            if (chip.kind === "word" && chip.weight !== 1) {
                element.append(make("span", "chip-weight", `×${chip.weight}`));
            }
            if (chip.steps) {
                element.append(make("span", "chip-steps", chip.steps.map((steps) => steps.join("–")).join(", ")));
            }
            const strongest = Math.max(...this.words.map((word) => word.strength || 0), 1e-9);
            const bar = make("span", "chip-bar");
            bar.style.width = `${Math.round((100 * (chip.strength || 0)) / strongest)}%`;
            element.append(bar);
            if (chip.kind === "tag" || chip.reason) {
                element.classList.add("attention-heatmap-chip-off");
            }
            element.setAttribute("aria-pressed", "false");
            element.draggable = chip.kind === "word";
            element.addEventListener("pointerenter", () => this.show(chip));
            element.addEventListener("pointerleave", () => this.show(null));
            element.addEventListener("focus", () => this.show(chip));
            element.addEventListener("blur", () => this.show(null));
            element.addEventListener("dragstart", () => (this.dragChip = chip));
            element.addEventListener("dragover", (event) => event.preventDefault());
            element.addEventListener("drop", (event) => {
                event.preventDefault();
                this.join(this.dragChip, chip);
            });
            this.buttons.set(chip, element);
            return element;
        }

        chipLabel(chip) {
            if (chip.reason) {
                return `${chip.text}: ${chip.reason}`;
            }
            const share = `${(100 * chip.strength).toFixed(1)} % of the attention`;
            return `${chip.text}: weight ${chip.weight}, ${share}, covers ${Math.round(100 * chip.coverage)} % of the picture`;
        }

        buildActions() {
            const box = make("div", "actions");
            this.chosen = make("span", "chosen", "Click a word to pin it");
            const act = (text, label, onClick) => button("action", text, label, onClick);
            this.promptBox = make("textarea", "prompt");
            this.promptBox.rows = 2;
            this.promptBox.value = this.prompt;
            this.promptBox.setAttribute("aria-label", "the prompt with your changes");
            this.promptBox.addEventListener("input", () => (this.prompt = this.promptBox.value));
            this.message = make("p", "message");
            this.message.setAttribute("role", "status");
            const emphasis = () => SHARED.emphasis;
            box.append(
                this.chosen,
                act("−", "weaken the pinned words", () => this.rewrite((prompt, span) => emphasis().changeWeight(prompt, span, -0.1))),
                act("+", "strengthen the pinned words", () => this.rewrite((prompt, span) => emphasis().changeWeight(prompt, span, 0.1))),
                act("Remove", "take the pinned words out of the prompt", () => this.rewrite((prompt, span) => emphasis().remove(prompt, span))),
                act("Undo", "undo the last change of the prompt", () => this.undo()),
                act("Copy prompt", "copy the prompt", () => navigator.clipboard.writeText(this.prompt)),
                act("Use these terms", "fill the panel with the pinned words", () => this.useTerms()),
                act("Save as mask", "the pinned words' region above the outline's threshold, as PNG", () => this.useMask(this.saveMask)),
                act("Unpin all", "let go of the pinned words", () => this.unpin()),
                this.promptBox,
                this.message
            );
            if (this.callbacks.onSendMask) {
                this.promptBox.before(act("Send mask to inpaint", "open the mask in inpaint", () => this.useMask(this.callbacks.onSendMask)));
            }
            return box;
        }

        buildObservations() {
            const list = make("ul", "observations");
            for (const observation of this.data.observations) {
                const item = make("li", "");
                item.append(button("observation", observation.text, observation.text, () => {
                    this.unpin();
                    this.words
                        .filter((chip) => chip.side === "positive" && observation.terms.includes(chip.term.replace(/#\d+$/, "")))
                        .forEach((chip) => this.pin(chip));
                }));
                list.append(item);
            }
            return list;
        }

        // ---- Maps

        mapOf(chip) {
            const key = `${this.state.resolution} ${chip.side} ${chip.part} ${chip.span}`;
            if (!this.cache.has(key)) {
                const wanted = (tile) => this.state.resolution === "all" || this.state.resolution === `${tile.height}x${tile.width}`;
                const tiles = chip.tiles.filter(wanted);
                this.cache.set(key, SHARED.maps.compose(this.atlas, tiles, this.height, this.width));
            }
            return this.cache.get(key);
        }

        comparedMaps() {
            return this.words.filter((chip) => chip.side === "positive").map((chip) => this.mapOf(chip));
        }

        scaledMap(chips) {
            const maps = chips.map((chip) => this.mapOf(chip));
            const joined = SHARED.maps.sumOf(maps, this.width * this.height).map((value) => value / maps.length);
            const others = this.comparedMaps();
            const sum = SHARED.maps.sumOf(others, this.width * this.height);
            return SHARED.maps.SCALES[this.state.scale](joined, others, sum);
        }

        show(chip) {
            this.current = chip && chip.tiles.length > 0 ? chip : null;
            this.draw();
        }

        /** At most once for each frame of the screen. */
        draw() {
            if (this.frame || !this.atlas) {
                return;
            }
            this.frame = requestAnimationFrame(() => {
                this.frame = 0;
                this.drawNow();
            });
        }

        drawNow() {
            const context = this.canvas.getContext("2d");
            context.clearRect(0, 0, this.width, this.height);
            const groups = this.current ? [[this.current]] : this.pins;
            if (groups.length === 1) {
                const scaled = this.scaledMap(groups[0]);
                const pixels = SHARED.maps.colorize(scaled, this.colormaps[this.state.colormap], this.state.opacity);
                context.putImageData(new ImageData(pixels, this.width, this.height), 0, 0);
            } else if (groups.length > 1) {
                this.drawInColours(context, groups);
            }
            if (this.state.threshold > 0) {
                groups.forEach((group, number) => this.drawOutline(context, group, groups.length > 1 ? number : -1));
            }
        }

        /** Several pinned words: each in its own colour, as strong as its map. */
        drawInColours(context, groups) {
            const image = context.createImageData(this.width, this.height);
            const maps = groups.map((group) => this.scaledMap(group));
            const colours = groups.map((_, number) => this.pinColour(number));
            for (let at = 0; at < this.width * this.height; at++) {
                let total = 0;
                const mixed = [0, 0, 0];
                maps.forEach((map, number) => {
                    total += map[at];
                    colours[number].forEach((value, channel) => (mixed[channel] += value * map[at]));
                });
                for (let channel = 0; channel < 3; channel++) {
                    image.data[4 * at + channel] = total > 0 ? mixed[channel] / total : 0;
                }
                image.data[4 * at + 3] = 255 * Math.min(1, Math.max(...maps.map((map) => map[at])) * this.state.opacity * 1.6);
            }
            context.putImageData(image, 0, 0);
        }

        pinColour(number) {
            const colour = PIN_COLOURS[number % PIN_COLOURS.length];
            return [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
        }

        drawOutline(context, group, number) {
            const inside = this.maskOf([group]);
            context.fillStyle = number < 0 ? "#ffffff" : PIN_COLOURS[number % PIN_COLOURS.length];
            for (let y = 0; y < this.height; y++) {
                for (let x = 0; x < this.width; x++) {
                    const at = y * this.width + x;
                    const isEdge = inside[at] && !(inside[at - 1] && inside[at + 1] && inside[at - this.width] && inside[at + this.width]);
                    if (isEdge) {
                        context.fillRect(x, y, 1, 1);
                    }
                }
            }
        }

        maskOf(groups) {
            const threshold = this.state.threshold || 0.4;
            const masks = groups.map((group) => {
                const maps = group.map((chip) => this.mapOf(chip));
                return SHARED.maps.mask(SHARED.maps.sumOf(maps, this.width * this.height), threshold);
            });
            return Array.from({length: this.width * this.height}, (_, at) => masks.some((mask) => mask[at]));
        }

        /** The pinned words' mask at the picture's size, white on black. */
        maskUrl() {
            const inside = this.maskOf(this.pins);
            const small = document.createElement("canvas");
            small.width = this.width;
            small.height = this.height;
            const pixels = new Uint8ClampedArray(inside.flatMap((is) => (is ? [255, 255, 255, 255] : [0, 0, 0, 255])));
            small.getContext("2d").putImageData(new ImageData(pixels, this.width, this.height), 0, 0);
            const large = document.createElement("canvas");
            large.width = this.data.width;
            large.height = this.data.height;
            const context = large.getContext("2d");
            context.fillRect(0, 0, large.width, large.height);
            context.imageSmoothingEnabled = false;
            context.drawImage(small, this.region.left, this.region.top, this.region.width, this.region.height);
            return large.toDataURL("image/png");
        }

        // ---- Gestures

        onChipClick(chip, event) {
            if (event.shiftKey && this.pins.length > 0) {
                this.join(this.pins[this.pins.length - 1].at(-1), chip);
            } else if (this.pins.some((group) => group.includes(chip))) {
                this.pins = this.pins.filter((group) => !group.includes(chip));
                this.afterPin();
            } else {
                this.pin(chip);
            }
        }

        pin(chip) {
            if (chip.tiles.length > 0) {
                this.pins.push([chip]);
            } else {
                this.say(this.chipLabel(chip));
            }
            this.afterPin();
        }

        /** All words from one to the other, as one phrase. */
        join(first, last) {
            const words = this.words.filter((chip) => chip.each === first.each && chip.part === first.part);
            const places = [words.indexOf(first), words.indexOf(last)].sort((one, other) => one - other);
            if (places[0] < 0) {
                return;
            }
            const phrase = words.slice(places[0], places[1] + 1);
            this.pins = this.pins.filter((group) => !group.some((chip) => phrase.includes(chip)));
            this.pins.push(phrase);
            this.afterPin();
        }

        unpin() {
            this.pins = [];
            this.afterPin();
        }

        afterPin() {
            this.buttons.forEach((element, chip) => {
                const number = this.pins.findIndex((group) => group.includes(chip));
                element.setAttribute("aria-pressed", String(number >= 0));
                element.style.setProperty("--attention-heatmap-pin", number >= 0 && this.pins.length > 1 ? PIN_COLOURS[number % PIN_COLOURS.length] : "");
            });
            const names = this.pins.map((group) => group.map((chip) => chip.text).join(" "));
            this.chosen.textContent = names.length ? `Pinned: ${names.join(", ")}` : "Click a word to pin it";
            this.draw();
        }

        onChipKey(event) {
            const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
            const all = [...this.buttons.values()];
            const at = all.indexOf(document.activeElement);
            if (step && at >= 0) {
                all[(at + step + all.length) % all.length].focus();
                event.preventDefault();
            }
        }

        placeOf(event) {
            const bounds = this.canvas.getBoundingClientRect();
            const x = Math.floor(((event.clientX - bounds.left) / bounds.width) * this.width);
            const y = Math.floor(((event.clientY - bounds.top) / bounds.height) * this.height);
            return [Math.min(Math.max(x, 0), this.width - 1), Math.min(Math.max(y, 0), this.height - 1)];
        }

        onPointerDown(event) {
            this.dragStart = this.placeOf(event);
            this.dragged = null;
            this.box.style.display = "none";
        }

        onPointerMove(event) {
            if (!this.atlas) {
                return;
            }
            const [x, y] = this.placeOf(event);
            if (this.dragStart) {
                const [startX, startY] = this.dragStart;
                this.dragged = [Math.min(x, startX), Math.min(y, startY), Math.max(x, startX) + 1, Math.max(y, startY) + 1];
                this.showBox();
                this.showRanking(this.dragged);
            } else if (!this.dragged) {
                this.showRanking([x, y, x + 1, y + 1]);
            }
        }

        showBox() {
            const [left, top, right, bottom] = this.dragged;
            const across = (x) => `${(100 * (this.region.left + (x / this.width) * this.region.width)) / this.data.width}%`;
            const down = (y) => `${(100 * (this.region.top + (y / this.height) * this.region.height)) / this.data.height}%`;
            Object.assign(this.box.style, {
                display: "block", left: across(left), top: down(top),
                width: `calc(${across(right)} - ${across(left)})`, height: `calc(${down(bottom)} - ${down(top)})`,
            });
        }

        showRanking(rectangle) {
            const words = this.words.filter((chip) => chip.side === "positive");
            const ranked = SHARED.maps.rank(words.map((chip) => this.mapOf(chip)), this.width, rectangle);
            this.ranking.replaceChildren(
                ...ranked.slice(0, MOST_RANKED).map(({number, share}) => make("li", "", `${words[number].text} ${Math.round(100 * share)} %`))
            );
        }

        // ---- Acting on the prompt

        setPrompt(prompt) {
            this.prompt = this.promptBox.value = prompt;
        }

        changePrompt(prompt) {
            this.history.push(this.prompt);
            this.setPrompt(prompt);
            this.callbacks.onPromptChange?.(prompt);
        }

        undo() {
            if (this.history.length > 0) {
                this.setPrompt(this.history.pop());
                this.callbacks.onPromptChange?.(this.prompt);
            }
        }

        /** Applies a change to each pinned word; its place is looked for anew, as earlier changes moved it. */
        rewrite(change) {
            const groups = this.pins.filter((group) => group[0].side === "positive");
            if (groups.length === 0) {
                this.say("Pin a word of the prompt first.");
                return;
            }
            let prompt = this.prompt;
            try {
                for (const group of groups) {
                    const span = this.findWords(prompt, group);
                    prompt = change(prompt, span).prompt;
                }
                this.say("");
            } catch (error) {
                this.say(error.message);
                return;
            }
            this.changePrompt(prompt);
        }

        /** The span in code points of the words in a prompt that may have changed since: the same occurrence of them. */
        findWords(prompt, group) {
            const text = group.map((chip) => chip.text).join(" ");
            const original = Array.from(group[0].each.prompt);
            const typed = original.slice(group[0].span[0], group.at(-1).span[1]).join("");
            const count = original.slice(0, group[0].span[0]).join("").split(typed).length - 1;
            let place = -1;
            for (let number = 0; number <= count; number++) {
                place = prompt.indexOf(typed, place + 1);
                if (place < 0) {
                    throw new Error(`“${text}” is not in the prompt any more.`);
                }
            }
            const start = Array.from(prompt.slice(0, place)).length;
            return [start, start + Array.from(typed).length];
        }

        useTerms() {
            const terms = this.pins.map((group) => (group.length > 1 ? group.map((chip) => chip.text).join(" ") : group[0].term));
            this.callbacks.onUseTerms ? this.callbacks.onUseTerms(terms.join(", ")) : navigator.clipboard.writeText(terms.join(", "));
            this.say(this.callbacks.onUseTerms ? "The panel has these terms now." : "Copied the terms.");
        }

        useMask(use) {
            if (this.pins.length === 0) {
                this.say("Pin a word first.");
                return;
            }
            use(this.maskUrl());
        }

        saveMask(url) {
            const link = document.createElement("a");
            link.href = url;
            link.download = "mask.png";
            link.click();
        }

        say(text) {
            this.message.textContent = text;
        }

        destroy() {
            cancelAnimationFrame(this.frame);
            this.root.replaceChildren();
            this.root.classList.remove("attention-heatmap-viewer");
            delete this.root.dataset.ready;
        }
    }

    SHARED.viewer = {mount: (element, data, callbacks) => new Viewer(element, data, callbacks)};
})();
