// The interactive viewer of one picture: words as chips, their maps over the picture, and what can be done with them.
//
// attentionHeatmap.viewer.mount(element, data, callbacks) shows the data of daam/results/viewer/data.py in the element and gives
// {destroy}. Callbacks, all optional: readPrompt() gives the text of the page's own prompt box, onPromptChange(prompt)
// writes it, freshFrames(prompt) promises how the words of a prompt can be edited that the user typed (or fails),
// onUseTerms(terms), onSendMask(dataUrl), onSaveReport(). The viewer's readPage() is for whoever sees that it was typed.
// Text from prompts only ever goes through textContent.

(function () {
    "use strict";

    const SHARED = (globalThis.attentionHeatmap = globalThis.attentionHeatmap || {});
    const PIN_COLOURS = ["#ff5d5d", "#4ea8ff", "#5ddf7a", "#ffc44e", "#d07bff", "#4ee0e0"];
    const MOST_RANKED = 6;
    const STEP = 0.1; // of a weight
    const MASK_THRESHOLD = 0.4; // where no outline is chosen; as in the DAAM paper
    const SEVERAL = ["in colours", "side by side"];
    const PLAY_MILLISECONDS = 250;

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

    function save(url, name) {
        const link = document.createElement("a");
        Object.assign(link, {href: url, download: name});
        link.click();
    }

    function table(base64) {
        return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    }

    const colourOfPin = (number) => PIN_COLOURS[number % PIN_COLOURS.length];
    const rgbOfPin = (number) => [1, 3, 5].map((at) => parseInt(colourOfPin(number).slice(at, at + 2), 16));
    const textOf = (group) => group.map((chip) => chip.text).join(" ");
    const weightText = (weight) => (weight === 1 || weight === null ? "" : `×${Number(weight.toFixed(3))}`);

    /** Spans of the words of each run of neighbours: one run for a phrase, more for a term that stands at several places. */
    function phrasesOf(group) {
        const runs = [];
        group.forEach((chip, at) => {
            if (at > 0 && group[at - 1].number + 1 === chip.number) {
                runs.at(-1).push(chip.span);
            } else {
                runs.push([chip.span]);
            }
        });
        return runs;
    }

    class Viewer {
        constructor(root, data, callbacks) {
            this.root = root;
            this.data = data;
            this.callbacks = callbacks || {};
            this.state = {...data.settings, threshold: 0, resolution: "all", step: 0, several: SEVERAL[0]};
            this.current = null;
            this.frame = 0;
            const [left, top, width, height] = data.region || [0, 0, data.width, data.height];
            this.region = {left, top, width, height};
            this.colormaps = Object.fromEntries(Object.entries(data.colormaps).map(([name, text]) => [name, table(text)]));
            const prompt = data.prompts.find((each) => each.side === "positive");
            this.edits = new SHARED.PromptEdits(prompt ? prompt.prompt : "", prompt ? prompt.frames : {words: [], brackets: [], glued: [], tags: []});
            this.last = Promise.resolve(); // the last change of the prompt, which the next one waits for
            this.chips = data.prompts.flatMap((each) => each.chips.map((chip) => ({...chip, side: each.side, each})));
            this.chips.forEach((chip, number) => (chip.number = number));
            this.words = this.chips.filter((chip) => chip.kind === "word" && chip.tiles.length > 0);
            this.maps = new SHARED.WordMaps(data.atlas, this.words, width, height);
            this.pins = data.pinned.map((spans) => this.wordsWithin(spans)).filter((group) => group.length > 0);
            this.build();
            this.afterPin();
            this.ready = this.load();
        }

        async load() {
            await this.maps.load();
            this.isLoaded = true;
            this.root.dataset.ready = "true";
            this.draw();
        }

        /** The words of the prompt that lie within spans of it. */
        wordsWithin(spans) {
            const isWithin = (chip) => spans.some(([start, end]) => start <= chip.span[0] && chip.span[1] <= end);
            return this.words.filter((chip) => chip.side === "positive" && isWithin(chip));
        }

        // ---- What is shown

        build() {
            this.root.classList.add("attention-heatmap-viewer");
            this.multiples = make("div", "multiples");
            this.root.replaceChildren(
                this.buildControls(), this.buildStage(), this.multiples, this.buildPrompts(), this.buildActions(), this.buildObservations()
            );
        }

        buildControls() {
            const bar = make("div", "controls");
            const control = (name, label, input) => {
                const box = make("label", "control");
                box.append(make("span", "", label), input);
                input.addEventListener("input", () => {
                    this.state[name] = input.type === "range" ? Number(input.value) : input.value;
                    this.draw();
                });
                bar.append(box);
                return input;
            };
            const slider = (value, max = 1, step = 0.01) => {
                const input = document.createElement("input");
                Object.assign(input, {type: "range", min: 0, max, step, value});
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
            control("resolution", "Layers", select(["all", ...this.maps.resolutions], "all"));
            control("threshold", "Outline", slider(0));
            control("several", "Several words", select(SEVERAL, SEVERAL[0]));
            if (this.data.steps > 0) {
                this.buildSteps(bar, control("step", "Step", slider(0, this.data.steps, 1)));
            }
            return bar;
        }

        /** Step 0 stands for all of them together. */
        buildSteps(bar, input) {
            const label = make("span", "step", "all");
            const tell = () => (label.textContent = this.state.step ? `${this.state.step} of ${this.data.steps}` : "all");
            const play = button("action", "Play", "show the steps one after the other", () => {
                if (this.playing) {
                    this.pause();
                    return;
                }
                play.textContent = "Pause";
                this.playing = setInterval(() => {
                    input.value = this.state.step = (this.state.step % this.data.steps) + 1;
                    tell();
                    this.draw();
                }, PLAY_MILLISECONDS);
            });
            this.pause = () => {
                clearInterval(this.playing);
                this.playing = null;
                play.textContent = "Play";
            };
            input.addEventListener("input", () => {
                this.pause();
                tell();
            });
            bar.append(label, play);
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
            this.placeCanvas(this.canvas);
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

        /** A canvas of the maps' size over the part of the picture that was generated. */
        placeCanvas(canvas) {
            canvas.width = this.maps.width;
            canvas.height = this.maps.height;
            const percent = (part, whole) => `${(100 * part) / whole}%`;
            Object.assign(canvas.style, {
                left: percent(this.region.left, this.data.width), top: percent(this.region.top, this.data.height),
                width: percent(this.region.width, this.data.width), height: percent(this.region.height, this.data.height),
            });
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
            element.append(make("span", "chip-weight", chip.kind === "word" ? weightText(chip.weight) : ""));
            if (chip.steps) {
                element.append(make("span", "chip-steps", chip.steps.map((steps) => steps.join("–")).join(", ")));
            }
            const strongest = Math.max(...this.words.filter((word) => word.side === chip.side).map((word) => word.strength), 1e-9);
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
            this.promptBox.value = this.edits.prompt;
            this.promptBox.setAttribute("aria-label", "the prompt with your changes");
            this.promptBox.addEventListener("input", () => {
                this.edits.retype(this.promptBox.value);
                this.afterEdit();
            });
            this.promptBox.addEventListener("change", () => this.readTyped());
            this.message = make("p", "message");
            this.message.setAttribute("role", "status");
            this.removeButton = act("Remove", "take the pinned words out of the prompt, or put them back", () => this.removeOrRestore());
            this.editButtons = [
                act("−", "weaken the pinned words", () => this.edit((spans) => this.edits.changeWeight(spans, -STEP))),
                act("+", "strengthen the pinned words", () => this.edit((spans) => this.edits.changeWeight(spans, STEP))),
                this.removeButton,
                act("Undo", "undo the last change of the prompt", () => this.undo()),
            ];
            box.append(
                this.chosen,
                ...this.editButtons,
                act("Copy prompt", "copy the prompt", () => this.copy(this.edits.prompt)),
                act("Use these terms", "fill the panel with the pinned words", () => this.useTerms()),
                act("Save as mask", "the pinned words' region above the outline's threshold, as PNG", () => this.useMask((url) => save(url, "mask.png"))),
                act("Unpin all", "let go of the pinned words", () => this.unpin())
            );
            if (this.callbacks.onSendMask) {
                box.append(act("Send mask to inpaint", "open the mask in inpaint", () => this.useMask(this.callbacks.onSendMask)));
            }
            if (this.callbacks.onSaveReport) {
                box.append(act("Save report", "this viewer as one file that needs nothing else", () => this.callbacks.onSaveReport()));
            }
            box.append(this.promptBox, this.message);
            return box;
        }

        buildObservations() {
            const list = make("ul", "observations");
            for (const observation of this.data.observations) {
                const item = make("li", "");
                item.append(button("observation", observation.text, observation.text, () => {
                    const isMeant = (chip) => chip.side === "positive" && observation.terms.includes(chip.term.replace(/#\d+$/, ""));
                    this.pins = this.words.filter(isMeant).map((chip) => [chip]);
                    this.afterPin();
                }));
                list.append(item);
            }
            return list;
        }

        // ---- Maps

        show(chip) {
            this.current = chip && chip.tiles.length > 0 ? chip : null;
            this.draw();
        }

        /** At most once for each frame of the screen. */
        draw() {
            if (this.frame || !this.isLoaded) {
                return;
            }
            this.frame = requestAnimationFrame(() => {
                this.frame = 0;
                this.drawNow();
            });
        }

        drawNow() {
            const groups = this.current ? [[this.current]] : this.pins;
            const isApart = groups.length > 1 && this.state.several === SEVERAL[1];
            this.drawGroups(this.canvas, isApart ? [] : groups);
            this.drawMultiples(isApart ? groups : this.current ? null : []);
        }

        /** One group in the colormap; several each in its own colour, as strong as its map. */
        drawGroups(canvas, groups, numbers = groups.map((_, number) => number)) {
            const context = canvas.getContext("2d");
            context.clearRect(0, 0, canvas.width, canvas.height);
            if (groups.length === 0) {
                return;
            }
            const scaled = groups.map((group) => this.maps.scaled(group, this.state));
            const pixels =
                groups.length === 1
                    ? SHARED.maps.colorize(scaled[0], this.colormaps[this.state.colormap], this.state.opacity)
                    : SHARED.maps.mix(scaled, numbers.map(rgbOfPin), 1.6 * this.state.opacity);
            context.putImageData(new ImageData(pixels, canvas.width, canvas.height), 0, 0);
            if (this.state.threshold > 0) {
                groups.forEach((group, at) => {
                    const inside = this.maps.mask([group], this.state, this.state.threshold);
                    context.fillStyle = groups.length > 1 ? colourOfPin(numbers[at]) : "#ffffff";
                    SHARED.maps.edges(inside, canvas.width).forEach((place) => {
                        context.fillRect(place % canvas.width, Math.floor(place / canvas.width), 1, 1);
                    });
                });
            }
        }

        /** A small picture for each group; null leaves those that are there, while a word is hovered. */
        drawMultiples(groups) {
            if (groups === null) {
                return;
            }
            if (this.multiples.childElementCount !== groups.length) {
                this.multiples.replaceChildren(...groups.map(() => this.buildMultiple()));
            }
            groups.forEach((group, number) => {
                const [frame, caption] = this.multiples.children[number].children;
                caption.textContent = textOf(group);
                this.drawGroups(frame.querySelector("canvas"), [group]);
            });
        }

        buildMultiple() {
            const figure = make("figure", "multiple");
            const frame = make("div", "multiple-frame");
            const picture = document.createElement("img");
            picture.src = this.data.picture;
            picture.alt = "";
            const canvas = document.createElement("canvas");
            this.placeCanvas(canvas);
            frame.append(picture, canvas);
            figure.append(frame, make("figcaption", ""));
            return figure;
        }

        /** The pinned words' mask at the picture's size, white on black. */
        maskUrl() {
            const inside = this.maps.mask(this.pins, this.state, this.state.threshold || MASK_THRESHOLD);
            const small = document.createElement("canvas");
            small.width = this.maps.width;
            small.height = this.maps.height;
            const pixels = new Uint8ClampedArray(inside.flatMap((is) => (is ? [255, 255, 255, 255] : [0, 0, 0, 255])));
            small.getContext("2d").putImageData(new ImageData(pixels, small.width, small.height), 0, 0);
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
            if (this.pins.length > 0) {
                this.readPage(); // so that it is read by the time a button is pressed
            }
            this.buttons.forEach((element, chip) => {
                const number = this.pins.findIndex((group) => group.includes(chip));
                element.setAttribute("aria-pressed", String(number >= 0));
                element.style.setProperty("--attention-heatmap-pin", number >= 0 && this.pins.length > 1 ? colourOfPin(number) : "");
            });
            const names = this.pins.map(textOf);
            this.chosen.textContent = names.length ? `Pinned: ${names.join(", ")}` : "Click a word to pin it";
            this.nameRemoveButton();
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
            const x = Math.floor(((event.clientX - bounds.left) / bounds.width) * this.maps.width);
            const y = Math.floor(((event.clientY - bounds.top) / bounds.height) * this.maps.height);
            return [Math.min(Math.max(x, 0), this.maps.width - 1), Math.min(Math.max(y, 0), this.maps.height - 1)];
        }

        onPointerDown(event) {
            this.dragStart = this.placeOf(event);
            this.dragged = null;
            this.box.style.display = "none";
        }

        onPointerMove(event) {
            if (!this.isLoaded) {
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
            const across = (x) => `${(100 * (this.region.left + (x / this.maps.width) * this.region.width)) / this.data.width}%`;
            const down = (y) => `${(100 * (this.region.top + (y / this.maps.height) * this.region.height)) / this.data.height}%`;
            Object.assign(this.box.style, {
                display: "block", left: across(left), top: down(top),
                width: `calc(${across(right)} - ${across(left)})`, height: `calc(${down(bottom)} - ${down(top)})`,
            });
        }

        showRanking(rectangle) {
            const ranked = this.maps.rank(rectangle, this.state).slice(0, MOST_RANKED);
            this.ranking.replaceChildren(...ranked.map(({chip, share}) => make("li", "", `${chip.text} ${Math.round(100 * share)} %`)));
        }

        // ---- Acting on the prompt

        /** What the user has typed into the page's prompt box since is kept. */
        async readPage() {
            const typed = this.callbacks.readPrompt?.();
            if (typed !== undefined && typed !== this.edits.prompt) {
                this.edits.retype(typed);
                this.afterEdit();
            }
            await this.readTyped();
        }

        /** Asks how the words of what was typed can be edited; a button pressed meanwhile acts as soon as that is known. */
        readTyped() {
            const setBusy = (isBusy) => this.editButtons.forEach((each) => each.setAttribute("aria-disabled", isBusy));
            const read = async () => {
                while (!this.edits.frames) {
                    setBusy(true);
                    const typed = this.edits.base;
                    const frames = await this.callbacks.freshFrames?.(typed).catch(() => null);
                    if (typed === this.edits.base) {
                        this.edits.takeFrames(frames);
                        this.afterEdit();
                    }
                }
                setBusy(false);
            };
            this.reading = this.reading || read().finally(() => (this.reading = null));
            return this.reading;
        }

        afterEdit() {
            if (this.promptBox.value !== this.edits.prompt) {
                this.promptBox.value = this.edits.prompt;
            }
            this.buttons.forEach((element, chip) => {
                if (chip.side === "positive" && chip.kind === "word") {
                    const isRemoved = this.edits.isRemoved(chip.span);
                    element.classList.toggle("attention-heatmap-chip-removed", isRemoved);
                    element.querySelector(".attention-heatmap-chip-weight").textContent = isRemoved ? "removed" : weightText(this.edits.weightOf(chip.span));
                }
            });
            this.nameRemoveButton();
        }

        nameRemoveButton() {
            this.removeButton.textContent = this.areRemoved() ? "Restore" : "Remove";
        }

        areRemoved() {
            const chips = this.pins.flat().filter((chip) => chip.side === "positive");
            return chips.length > 0 && chips.every((chip) => this.edits.isRemoved(chip.span));
        }

        /** One change of the prompt after the other, even where what was typed must be read first. */
        inTurn(act) {
            this.last = this.last.then(act, act);
        }

        /** Does something to each phrase of the pinned words, for as many as can be. */
        edit(change) {
            this.inTurn(async () => {
                const groups = this.pins.filter((group) => group[0].side === "positive");
                if (groups.length === 0) {
                    this.say("Pin a word of the prompt first.");
                    return;
                }
                await this.readPage();
                const before = this.edits.prompt;
                let trouble = "";
                for (const spans of groups.flatMap(phrasesOf)) {
                    try {
                        change(spans);
                    } catch (error) {
                        if (!(error instanceof SHARED.RewritingError)) {
                            throw error;
                        }
                        trouble = error.message;
                    }
                }
                this.say(trouble);
                this.tellPage(before);
            });
        }

        tellPage(before) {
            this.afterEdit();
            if (this.edits.prompt !== before) {
                this.callbacks.onPromptChange?.(this.edits.prompt);
            }
        }

        removeOrRestore() {
            if (this.areRemoved()) {
                this.edit((spans) => this.edits.restore(spans));
            } else {
                this.edit((spans) => this.edits.remove(spans));
            }
        }

        undo() {
            this.inTurn(async () => {
                await this.readPage();
                if (!this.edits.canUndo) {
                    this.say("There is nothing to undo.");
                    return;
                }
                const before = this.edits.prompt;
                this.edits.undo();
                this.say("");
                this.tellPage(before);
            });
        }

        /** Browsers offer the clipboard to pages of a secure address only; elsewhere a selected text is copied. */
        async copy(text) {
            if (navigator.clipboard) {
                await navigator.clipboard.writeText(text);
            } else {
                const box = make("textarea", "");
                box.value = text;
                this.root.append(box);
                box.select();
                document.execCommand("copy");
                box.remove();
            }
            this.say("Copied.");
        }

        useTerms() {
            const terms = this.pins.map((group) => (group.length > 1 ? textOf(group) : group[0].term)).join(", ");
            if (this.callbacks.onUseTerms) {
                this.callbacks.onUseTerms(terms);
                this.say("The panel has these terms now.");
            } else {
                this.copy(terms);
            }
        }

        useMask(use) {
            if (this.pins.length === 0) {
                this.say("Pin a word first.");
                return;
            }
            use(this.maskUrl());
        }

        say(text) {
            this.message.textContent = text;
        }

        destroy() {
            cancelAnimationFrame(this.frame);
            this.pause?.();
            this.maps.forget();
            this.root.replaceChildren();
            this.root.classList.remove("attention-heatmap-viewer");
            delete this.root.dataset.ready;
        }
    }

    SHARED.viewer = {save, mount: (element, data, callbacks) => new Viewer(element, data, callbacks)};
})();
