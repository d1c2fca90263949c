// The interactive viewer of one picture: its words, their maps over the picture, and changes of the prompt.
//
// attentionHeatmap.viewer.mount(element, data, callbacks, memory) shows the data of daam/results/viewer/data.py in the
// element and gives a viewer with {ready, remember(), follow(), read(), destroy()}. `memory` is what remember() of another
// picture's viewer gave: selection, colours, look and undo go on from it; memory.earlier may be the data of the result
// before, to lay beside this one. Callbacks, all optional: those of PromptSide, and onGenerate(), onUseTerms(terms),
// onSendMask(dataUrl), onSaveReport(memory). follow() and read() are for whoever sees the user type into the page's prompt.

(function () {
    "use strict";

    const SHARED = (globalThis.attentionHeatmap = globalThis.attentionHeatmap || {});
    const SIDES = ["positive", "negative"];
    const STEP = 0.1; // of a weight
    const MASK_THRESHOLD = 0.4; // where no outline is chosen; as in the DAAM paper
    const MAC = /Mac|iP(hone|ad|od)/.test(globalThis.navigator?.platform || "");

    class Viewer {
        constructor(root, data, callbacks = {}, memory = null) {
            Object.assign(this, {root, data, callbacks, current: null, frame: 0});
            this.chips = data.prompts.flatMap((each) => each.chips.map((chip) => ({...chip, side: each.side, each})));
            this.chips.forEach((chip, number) => (chip.number = number));
            SHARED.nameChips(this.chips);
            this.words = this.chips.filter((chip) => chip.kind === "word" && chip.tiles.length > 0);
            this.maps = new SHARED.WordMaps(data.atlas, this.words, ...sizeOf(data));
            this.selection = new SHARED.Selection(this.words, (group, taken) => SHARED.pickColour(taken, this.groundOf(group)));
            this.last = Promise.resolve(); // the last change of the prompt, which the next one waits for
            this.changed = memory?.changed || []; // sides of the prompt in the order of their changes
            this.sides = Object.fromEntries(SIDES.map((side) => [side, this.makeSide(side, memory?.edits?.[side])]));
            this.earlier = memory?.earlier ? SHARED.earlierOf(memory.earlier) : null;
            this.look = new SHARED.Look(data, this.maps, memory?.look, () => this.draw());
            this.build();
            if (memory?.selection) {
                this.selection.restore(memory.selection);
            }
            this.isCompared = Boolean(this.earlier && memory.isCompared);
            this.afterSelection();
            this.afterEdit();
            SIDES.forEach((side) => this.sides[side].follow());
            this.ready = this.load();
        }

        async load() {
            await Promise.all([this.maps.load(), this.stage.picture.decode().catch(() => null)]);
            this.isLoaded = true;
            this.compare(this.isCompared);
            this.afterSelection();
            this.drawNow();
            this.root.dataset.ready = "true";
        }

        makeSide(side, remembered) {
            const data = this.data.prompts.find((each) => each.side === side);
            return new SHARED.PromptSide(side, data, this.callbacks, remembered, {
                onChange: () => this.afterEdit(), onBusy: (isBusy) => this.root.toggleAttribute("data-reading", isBusy),
            });
        }

        /** What a later picture's viewer goes on from. */
        remember() {
            return {
                selection: this.selection.remember(), look: this.look.chosen, isCompared: this.isCompared, changed: this.changed,
                edits: Object.fromEntries(SIDES.map((side) => [side, this.sides[side].edits.remember()])),
            };
        }

        // ---- What is shown

        build() {
            const {make} = SHARED.parts;
            const actions = {
                show: (chip) => this.show(chip),
                choose: (chip, event) => this.choose(chip, event),
                add: (chip) => this.afterChoice(chip, () => this.selection.toggle(chip)),
                phrase: (first, last, isAdded) => this.afterChoice(first, () => this.selection.join(first, last, isAdded)),
                weigh: (chip, by) => this.edit([[chip]], (edits, spans) => edits.changeWeight(spans, by)),
                remove: (chip) => this.removeOrRestore([[chip]]),
                append: (chip) => this.append(chip),
            };
            this.root.classList.add("attention-heatmap-viewer");
            this.root.classList.toggle("attention-heatmap-on-dark", !this.root.closest(".dark") && hasLightText(this.root));
            this.stage = new SHARED.Stage(this.data, this.maps, this.look.colormaps, (spot) => this.showSpot(spot));
            this.beside = new SHARED.Beside(this);
            this.legend = new SHARED.Legend(this);
            this.line = new SHARED.WordLine(this.data, this.chips, actions);
            this.list = new SHARED.WordList(this.maps.compared, this.earlier?.strengths, actions);
            const pictures = make("div", "pictures");
            pictures.append(this.beside.before, this.stage.element);
            const left = make("div", "left");
            left.append(pictures, this.legend.element, this.beside.multiples);
            const right = make("div", "right");
            right.append(this.list.element, this.buildObservations());
            const row = make("div", "row");
            const below = make("div", "below");
            below.append(this.line.element, this.buildActions());
            row.append(left, below, right);
            this.root.replaceChildren(this.look.buildBar(this.buildCompare()), row);
            this.onKey = (event) => this.onShortcut(event);
            this.root.addEventListener("keydown", this.onKey);
        }

        buildCompare() {
            if (!this.earlier) {
                return [];
            }
            this.compareButton = SHARED.parts.button("action", "Compare", "the result before beside this one", () => this.compare(!this.isCompared));
            return [this.compareButton];
        }

        async compare(isCompared) {
            this.isCompared = isCompared;
            this.compareButton?.setAttribute("aria-pressed", String(isCompared));
            await this.beside.showBefore(isCompared ? this.earlier : null);
            this.draw();
        }

        buildActions() {
            const {make, button, menu, save, copy} = SHARED.parts;
            const box = make("div", "actions");
            const act = (text, label, onClick) => button("action", text, label, onClick);
            this.chosen = make("p", "chosen");
            this.relatives = new SHARED.Relatives(this.chips, (chip) => this.afterChoice(chip, () => this.selection.toggle(chip)));
            this.weaken = act("−", "", () => this.edit(this.selection.groups, (edits, spans) => edits.changeWeight(spans, -STEP)));
            this.strengthen = act("+", "", () => this.edit(this.selection.groups, (edits, spans) => edits.changeWeight(spans, STEP)));
            this.removeButton = act("Remove", "", () => this.removeOrRestore(this.selection.groups));
            this.removeButton.classList.add("attention-heatmap-remove");
            this.undoButton = act("Undo", "take back the last change of the prompt", () => this.undo());
            this.onlySelected = [
                act("Use as terms", "fill the panel's terms with the selected words", () => this.useTerms()),
                act("Save as mask", "where the selected words are strong, as a PNG", () => save(this.maskUrl(), "mask.png")),
                act("Clear selection", "select nothing", () => this.afterChoice(null, () => this.selection.clear())),
            ];
            const items = [act("Copy prompt", "copy the prompt with your changes", () => copy(this.sides.positive.prompt, this.root).then(() => this.say("Copied.")))];
            if (this.callbacks.onSendMask) {
                this.onlySelected.push(act("Send mask to inpaint", "open the picture with this mask in inpaint", () => this.callbacks.onSendMask(this.maskUrl())));
            }
            items.push(...this.onlySelected);
            if (this.callbacks.onSaveReport) {
                items.push(act("Save report", "this viewer as one file that needs nothing else", () => this.callbacks.onSaveReport(this.remember())));
            }
            const row = make("div", "buttons");
            row.append(this.weaken, this.strengthen, this.removeButton, this.undoButton, make("span", "space"), menu("More", items));
            if (this.callbacks.onGenerate) {
                const keys = MAC ? "⌘ Enter" : "Ctrl+Enter";
                row.append(button("action", "Generate", `generate with the changed prompt (${keys})`, () => this.callbacks.onGenerate()));
                row.lastChild.classList.add("attention-heatmap-primary");
            }
            this.message = make("p", "message");
            this.message.setAttribute("role", "status");
            box.append(this.chosen, this.relatives.element, row, ...this.buildFields(), this.message);
            return box;
        }

        /** The fields are the page's prompt, or stand for it where the page has none. */
        buildFields() {
            this.fields = {};
            return SIDES.filter((side) => this.data.prompts.some((each) => each.side === side)).map((side) => {
                const field = SHARED.parts.make("textarea", side === "positive" ? "prompt" : "negative");
                field.rows = side === "positive" ? 2 : 1;
                field.spellcheck = false;
                field.placeholder = side === "positive" ? "Prompt" : "Negative prompt";
                field.setAttribute("aria-label", field.placeholder);
                field.addEventListener("input", () => this.sides[side].type(field.value));
                field.addEventListener("change", () => this.sides[side].readWords());
                this.fields[side] = field;
                return field;
            });
        }

        buildObservations() {
            const {make, button} = SHARED.parts;
            const list = make("ul", "observations");
            for (const observation of this.data.observations) {
                const item = make("li", "", observation.terms.length > 0 ? undefined : observation.text);
                list.append(item);
                if (observation.terms.length === 0) {
                    continue;
                }
                item.append(button("observation", observation.text, observation.text, () => {
                    const isMeant = (chip) => chip.side === "positive" && observation.terms.includes(chip.term.replace(/#\d+$/, ""));
                    this.afterChoice(null, () => (this.selection.groups = this.words.filter(isMeant).map((chip) => [chip])));
                }));
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
            const groups = this.current ? [[this.current]] : this.selection.groups;
            const colours = groups.map((group) => (groups.length > 1 ? this.selection.colourOf(group) : null));
            const isApart = groups.length > 1 && this.look.state.several === "apart";
            const before = this.isCompared ? this.beside.maps : null;
            this.stage.draw(isApart ? [] : groups, colours, this.look.state, before);
            this.beside.draw(isApart ? [] : groups, colours, this.look.state);
            this.beside.drawMultiples(isApart ? groups : this.current ? null : [], this.look.state);
            this.legend.show(groups, colours);
        }

        groundOf(group) {
            return this.isLoaded ? this.stage.ground(group, this.look.state) : [];
        }

        maskUrl() {
            const threshold = this.look.state.threshold || this.look.reading?.threshold || MASK_THRESHOLD;
            return this.stage.maskUrl(this.selection.groups, this.look.state, threshold);
        }

        /** The words of a part of the picture, for the next frame; null for all of it. */
        showSpot(spot) {
            this.spot = spot;
            if (this.isLoaded && !this.spotFrame) {
                this.spotFrame = requestAnimationFrame(() => {
                    this.spotFrame = 0;
                    this.list.show(this.spot ? this.maps.rank(this.spot, this.look.state) : null);
                });
            }
        }

        // ---- Gestures

        choose(chip, event) {
            if (chip.tiles.length === 0) {
                this.say(SHARED.labelOf(chip));
                return;
            }
            this.afterChoice(chip, () => {
                const isAdded = event.ctrlKey || event.metaKey;
                if (event.shiftKey && this.selection.anchor) {
                    this.selection.join(this.selection.anchor, chip, isAdded);
                } else if (isAdded) {
                    this.selection.toggle(chip);
                } else {
                    this.selection.only(chip);
                }
            });
        }

        afterChoice(chip, change) {
            if (!chip || chip.tiles.length > 0) {
                change();
                this.say("");
            }
            this.afterSelection();
        }

        afterSelection() {
            if (this.selection.groups.length > 0) {
                SIDES.forEach((side) => this.sides[side].read()); // so that it is read by the time a button is pressed
            }
            this.line.showSelection(this.selection);
            this.relatives.showSelection(this.selection);
            this.list.showSelection(this.selection);
            this.nameActions();
            this.draw();
        }

        /** Says what the buttons will act on; those that cannot act now are greyed. */
        nameActions() {
            const {describe, enable} = SHARED.parts;
            const names = this.selection.groups.map((group) => `“${SHARED.textOf(group)}”`).join(", ");
            const groups = this.editable(this.selection.groups);
            const targets = groups.map((group) => `“${SHARED.textOf(group)}”`).join(", ");
            const isProbed = names && !targets ? `${names} is not in the prompt: “add” under it puts it there` : "";
            this.chosen.textContent = isProbed || (targets ? `Changes ${targets}` : "Select a word to weaken or strengthen it");
            this.chosen.title = this.chosen.textContent;
            const areRemoved = this.areRemoved(groups);
            this.removeButton.textContent = areRemoved ? "Restore" : "Remove";
            describe(this.removeButton, targets ? `${areRemoved ? "put back" : "take out"} ${targets}` : "select a word first");
            describe(this.weaken, targets ? `weaken ${targets}` : "select a word first");
            describe(this.strengthen, targets ? `strengthen ${targets}` : "select a word first");
            [this.weaken, this.strengthen].forEach((each) => enable(each, targets && !areRemoved));
            enable(this.removeButton, targets);
            enable(this.undoButton, SIDES.some((side) => this.sides[side].edits.canUndo));
            this.onlySelected.forEach((each) => enable(each, names));
        }

        onShortcut(event) {
            if (event.key === "Escape") {
                this.stage.forgetBox();
            }
            if (event.key === "Enter" && (event.ctrlKey || event.metaKey || event.altKey)) {
                event.preventDefault(); // or the focused word would be selected; the page's own shortcut still sees it
                if (this.callbacks.isShortcutOurs) {
                    this.callbacks.onGenerate?.();
                }
            }
        }

        // ---- Acting on the prompt

        follow() {
            SIDES.forEach((side) => this.sides[side].follow());
        }

        read() {
            return Promise.all(SIDES.map((side) => this.sides[side].read()));
        }

        afterEdit() {
            if (!this.line) {
                return;
            }
            for (const [side, field] of Object.entries(this.fields)) {
                if (field.value !== this.sides[side].prompt) {
                    field.value = this.sides[side].prompt;
                }
            }
            this.line.showWeights(Object.fromEntries(SIDES.map((side) => [side, this.sides[side].edits])));
            this.nameActions();
        }

        editable(groups) {
            return groups.filter((group) => SIDES.includes(group[0].side));
        }

        areRemoved(groups) {
            const chips = groups.flat();
            return chips.length > 0 && chips.every((chip) => this.sides[chip.side].edits.isRemoved(chip.span));
        }

        /** One change of the prompt after the other, even where what was typed must be read first. */
        inTurn(act) {
            this.last = this.last.then(act, act);
            return this.last;
        }

        /** Does something to each phrase of the groups, for as many as can be. */
        edit(groups, change) {
            const wanted = this.editable(groups);
            return this.inTurn(async () => {
                let said = "";
                for (const group of wanted) {
                    for (const spans of SHARED.phrasesOf(group)) {
                        said = (await this.changeSide(group[0].side, (edits) => change(edits, spans))) || said;
                    }
                }
                this.say(said);
            });
        }

        async changeSide(side, act) {
            const {trouble, isChanged} = await this.sides[side].change(act);
            if (isChanged) {
                this.changed.push(side);
            }
            this.nameActions();
            return trouble;
        }

        removeOrRestore(groups) {
            const areRemoved = this.areRemoved(this.editable(groups));
            return this.edit(groups, (edits, spans) => (areRemoved ? edits.restore(spans) : edits.remove(spans)));
        }

        append(chip) {
            return this.inTurn(async () => {
                this.say(await this.changeSide("positive", (edits) => edits.append(chip.text)));
                await this.sides.positive.readWords();
            });
        }

        undo() {
            return this.inTurn(async () => {
                await this.read();
                const canUndo = (side) => this.sides[side].edits.canUndo;
                const lastSide = this.changed.findLast(canUndo) || SIDES.find(canUndo);
                if (lastSide) {
                    this.changed.splice(this.changed.lastIndexOf(lastSide), 1);
                    await this.sides[lastSide].change((edits) => edits.undo());
                }
                this.say("");
                this.nameActions();
            });
        }

        useTerms() {
            const terms = this.selection.groups.map((group) => (group.length > 1 ? SHARED.textOf(group) : group[0].term)).join(", ");
            if (this.callbacks.onUseTerms) {
                this.callbacks.onUseTerms(terms);
                this.say("These are the panel's terms now.");
            } else {
                SHARED.parts.copy(terms, this.root).then(() => this.say("Copied."));
            }
        }

        say(text) {
            this.message.textContent = text.charAt(0).toUpperCase() + text.slice(1); // some come from Python's errors
        }

        destroy() {
            cancelAnimationFrame(this.frame);
            cancelAnimationFrame(this.spotFrame);
            this.look.pause();
            this.maps.forget();
            this.root.removeEventListener("keydown", this.onKey);
            this.root.replaceChildren();
            this.root.classList.remove("attention-heatmap-viewer", "attention-heatmap-on-dark");
            delete this.root.dataset.ready;
        }
    }

    /** So it is known that a theme is dark which does not say so, as those of SD.Next. */
    function hasLightText(element) {
        const [red, green, blue] = getComputedStyle(element).color.match(/[\d.]+/g).map(Number);
        return 0.3 * red + 0.59 * green + 0.11 * blue > 150;
    }

    const sizeOf = (data) => (data.region ? data.region.slice(2) : [data.width, data.height]);

    SHARED.viewer = {save: SHARED.parts?.save, sizeOf, mount: (element, data, callbacks, memory) => new Viewer(element, data, callbacks, memory)};
})();
