// The prompt's words by strength, with numbers: of the whole picture, or of the spot that is pointed at.

(function () {
    "use strict";

    const SHARED = (globalThis.attentionHeatmap = globalThis.attentionHeatmap || {});

    const MOST_AT_SPOT = 40; // rows; of a long prompt the rest has nothing there

    class WordList {
        /** `actions`: show(chip or null), choose(chip, event). `earlier`: strengths by key of the picture before, or null. */
        constructor(words, earlier, actions) {
            const {make} = SHARED.parts;
            Object.assign(this, {earlier, actions});
            this.byStrength = [...words].sort((one, other) => other.strength - one.strength);
            this.isBusy = false;
            this.element = make("div", "list-box");
            this.title = make("p", "hint", "");
            this.list = make("ol", "list");
            this.rows = this.byStrength.map(() => this.buildRow());
            this.list.append(...this.rows.map((row) => row.element));
            this.element.append(this.title, this.list);
            this.show(null);
        }

        buildRow() {
            const {make, button} = SHARED.parts;
            const row = {element: make("li", ""), dot: make("span", "dot"), name: make("span", "list-name"), number: make("span", "number")};
            const [track, change] = [make("span", "list-track"), make("span", "change")];
            const bar = make("span", "list-bar");
            track.append(bar);
            const element = button("list-row", "", "", (event) => this.actions.choose(row.chip, event));
            element.append(row.dot, row.name, track, row.number, change);
            element.addEventListener("pointerenter", () => this.actions.show(row.chip));
            element.addEventListener("pointerleave", () => this.actions.show(null));
            element.addEventListener("focus", () => this.actions.show(row.chip));
            element.addEventListener("blur", () => this.actions.show(null));
            row.element.append(element);
            return Object.assign(row, {button: element, bar, change});
        }

        /** `ranked`: [{chip, share}] of a spot; null for the whole picture. */
        show(ranked) {
            const {percent} = SHARED.parts;
            const all = ranked || this.byStrength.map((chip) => ({chip, share: chip.strength}));
            const most = Math.max(...all.map(({share}) => share), 1e-9);
            this.title.textContent = ranked ? "Words at this spot" : "Words by strength";
            const shown = ranked ? MOST_AT_SPOT : all.length;
            this.rows.forEach((row, at) => (row.element.hidden = at >= shown));
            all.slice(0, shown).forEach(({chip, share}, at) => {
                const row = this.rows[at];
                row.number.textContent = percent(share);
                row.bar.style.width = `${(100 * share) / most}%`;
                if (row.chip !== chip) {
                    row.chip = chip;
                    row.name.textContent = [chip.text, chip.each.part_labels?.[chip.part]].filter(Boolean).join(" · ");
                    row.name.title = row.name.textContent;
                }
                this.showChange(row, ranked ? null : this.earlier?.get(chip.key));
            });
            this.showSelection(this.selection);
        }

        showChange(row, before) {
            const difference = before === undefined || before === null ? null : row.chip.strength - before;
            row.change.textContent = difference === null ? "" : SHARED.parts.change(difference);
            row.change.dataset.direction = {"+": "up", "−": "down"}[row.change.textContent[0]] || "";
            const change = difference === null ? "" : `, ${row.change.textContent} points since the picture before`;
            SHARED.parts.describe(row.button, `${row.chip.text}: ${row.number.textContent}${change}`);
        }

        showSelection(selection) {
            this.selection = selection;
            for (const row of this.rows.filter((each) => !each.element.hidden)) {
                const group = selection?.groupOf(row.chip) || null;
                row.button.setAttribute("aria-pressed", String(group !== null));
                row.dot.style.background = group === null ? "" : selection.groups.length > 1 ? selection.colourOf(group) : "currentColor";
            }
        }
    }

    SHARED.WordList = WordList;
})();
