// The prompts as lines of words: under each word its strength, on one scale; while it is pointed at, its − weight +.
//
// `actions`, what the words ask for: show(chip or null), choose(chip, event), phrase(first, last, isAdded), add(chip) for the
// touch that is held, weigh(chip, by), remove(chip), append(chip).

(function () {
    "use strict";

    const SHARED = (globalThis.attentionHeatmap = globalThis.attentionHeatmap || {});
    const NAMES = {positive: "Prompt", negative: "Negative prompt", probe: "Probe words"};
    const LONG_PRESS = 450; // milliseconds
    const STEP = 0.1; // of a weight

    const weightText = (weight) => (weight === 1 || weight === null ? "" : `×${Number(weight.toFixed(3))}`);

    class WordLine {
        constructor(data, chips, actions) {
            this.actions = actions;
            this.buttons = new Map();
            this.weights = new Map();
            this.element = SHARED.parts.make("div", "prompts");
            for (const each of data.prompts) {
                this.strongest = Math.max(1e-9, ...chips.filter((chip) => chip.side === each.side).map((chip) => chip.strength || 0));
                this.partsOf(each, chips).forEach(([label, words]) => this.element.append(this.buildLine(label, words)));
            }
            this.element.addEventListener("keydown", (event) => this.onKey(event));
            this.watchDragging();
            const first = this.buttons.values().next().value;
            first?.setAttribute("tabindex", "0");
        }

        /** [label, chips] of each line: one for each part of AND, and for each pass of hires fix that has words of its own. */
        partsOf(each, chips) {
            const numbers = [...new Set(chips.filter((chip) => chip.each === each).map((chip) => chip.part))];
            return numbers.map((part) => {
                const label = each.part_labels?.[part] || "";
                return [[NAMES[each.side], label].filter(Boolean).join(", "), chips.filter((chip) => chip.each === each && chip.part === part)];
            });
        }

        buildLine(label, chips) {
            const {make} = SHARED.parts;
            const line = make("div", "line");
            line.setAttribute("role", "group");
            line.setAttribute("aria-label", label);
            line.append(make("span", "label", label), ...chips.map((chip) => this.buildWord(chip)));
            return line;
        }

        buildWord(chip) {
            const {make} = SHARED.parts;
            const word = make("span", "word");
            const lane = make("span", "lane");
            word.append(this.buildButton(chip), lane);
            if (chip.kind === "word") {
                const gauge = make("span", "gauge");
                const bar = make("span", "gauge-bar");
                bar.style.width = `${(100 * (chip.strength || 0)) / this.strongest}%`;
                gauge.append(bar);
                lane.append(gauge, this.buildStepper(chip));
            }
            word.addEventListener("pointerenter", () => this.actions.show(chip));
            word.addEventListener("pointerleave", () => this.actions.show(null));
            return word;
        }

        buildButton(chip) {
            const {make, button} = SHARED.parts;
            const element = button("chip", "", labelOf(chip), (event) => this.onClick(chip, event));
            const weight = make("span", "chip-weight", chip.kind === "word" ? weightText(chip.weight) : "");
            element.append(make("span", "chip-text", chip.text), weight);
            if (chip.steps) {
                element.append(make("span", "chip-steps", chip.steps.map((steps) => steps.join("–")).join(", ")));
            }
            SHARED.parts.describe(element, labelOf(chip));
            element.classList.toggle("attention-heatmap-chip-off", chip.kind === "tag" || Boolean(chip.reason));
            element.setAttribute("aria-pressed", "false");
            element.setAttribute("tabindex", "-1");
            element.addEventListener("focus", () => this.onFocus(chip, element));
            element.addEventListener("blur", () => this.actions.show(null));
            this.buttons.set(chip, element);
            this.weights.set(chip, weight);
            return element;
        }

        /** − weight + of one word, or "add" for a word that is not in the prompt. The keyboard has keys for it. */
        buildStepper(chip) {
            const {make, button} = SHARED.parts;
            const stepper = make("span", "stepper");
            const act = (text, label, onClick) => {
                const element = button("step-button", text, label, onClick);
                element.tabIndex = -1;
                return element;
            };
            if (chip.side === "probe") {
                stepper.append(act("add", `add “${chip.text}” to the prompt`, () => this.actions.append(chip)));
                return stepper;
            }
            const number = make("span", "step-number", "");
            stepper.append(
                act("−", `weaken “${chip.text}”`, () => this.actions.weigh(chip, -STEP)), number,
                act("+", `strengthen “${chip.text}”`, () => this.actions.weigh(chip, STEP))
            );
            chip.stepNumber = number;
            return stepper;
        }

        // ---- What changes

        showSelection(selection) {
            this.buttons.forEach((element, chip) => {
                const group = selection.groupOf(chip);
                element.setAttribute("aria-pressed", String(group !== null));
                const colour = group !== null && selection.groups.length > 1 ? selection.colourOf(group) : "";
                element.style.setProperty("--attention-heatmap-pin", colour);
            });
        }

        /** `edits`: by side. */
        showWeights(edits) {
            this.buttons.forEach((element, chip) => {
                if (chip.kind !== "word" || !edits[chip.side]) {
                    return;
                }
                const isRemoved = edits[chip.side].isRemoved(chip.span);
                const weight = readWeight(edits[chip.side], chip);
                element.classList.toggle("attention-heatmap-chip-removed", isRemoved);
                this.weights.get(chip).textContent = isRemoved ? "removed" : weightText(weight);
                chip.stepNumber.textContent = isRemoved || weight === null ? "–" : String(Number(weight.toFixed(2)));
            });
        }

        // ---- Gestures

        onClick(chip, event) {
            if (this.isHandled) {
                this.isHandled = false; // a drag or a long press has acted already
                return;
            }
            this.actions.choose(chip, event);
        }

        onFocus(chip, element) {
            this.buttons.forEach((each) => each.setAttribute("tabindex", each === element ? "0" : "-1"));
            this.actions.show(chip);
        }

        /** From one word to another with the pointer down: the phrase. A finger that stays on a word: one more word. */
        watchDragging() {
            const chipAt = (event) => {
                const element = event.target.closest?.(".attention-heatmap-chip");
                return [...this.buttons].find(([, each]) => each === element)?.[0];
            };
            this.element.addEventListener("pointerdown", (event) => {
                this.isHandled = false;
                this.from = event.button === 0 && event.pointerType !== "touch" ? chipAt(event) : null;
                const chip = chipAt(event);
                if (chip && event.pointerType === "touch") {
                    this.hold = setTimeout(() => {
                        this.isHandled = true;
                        this.actions.add(chip);
                    }, LONG_PRESS);
                }
            });
            this.element.addEventListener("pointerover", (event) => {
                const chip = this.from && event.buttons & 1 ? chipAt(event) : null;
                if (chip && (chip !== this.from || this.isHandled)) {
                    this.isHandled = true;
                    this.actions.phrase(this.from, chip, event.ctrlKey || event.metaKey);
                }
            });
            for (const name of ["pointerup", "pointercancel", "pointermove"]) {
                this.element.addEventListener(name, () => clearTimeout(this.hold));
            }
            this.element.addEventListener("contextmenu", (event) => event.pointerType === "touch" && chipAt(event) && event.preventDefault());
        }

        onKey(event) {
            const all = [...this.buttons];
            const at = all.findIndex(([, element]) => element === document.activeElement);
            if (at < 0 || event.ctrlKey || event.metaKey || event.altKey) {
                return;
            }
            const chip = all[at][0];
            const moves = {ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: -1};
            const acts = {
                "-": () => this.actions.weigh(chip, -STEP), "+": () => this.actions.weigh(chip, STEP),
                "=": () => this.actions.weigh(chip, STEP), Delete: () => this.actions.remove(chip),
            };
            if (event.key in moves) {
                all.at(moves[event.key] % all.length)[1].focus();
                event.preventDefault();
            } else if (acts[event.key] && chip.kind === "word" && chip.side !== "probe") {
                acts[event.key]();
                event.preventDefault();
            }
        }
    }

    /** Null for a word that is not in the text, or whose letters have several weights. */
    function readWeight(edits, chip) {
        try {
            return edits.weightOf(chip.span);
        } catch {
            return null;
        }
    }

    function labelOf(chip) {
        if (chip.reason) {
            return `${chip.text}: ${chip.reason}`;
        }
        const share = `${(100 * chip.strength).toFixed(1)} % of the attention`;
        return `${chip.text}: weight ${chip.weight}, ${share}, covers ${Math.round(100 * chip.coverage)} % of the picture`;
    }

    Object.assign(SHARED, {WordLine, labelOf});
})();
