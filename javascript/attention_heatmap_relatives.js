// The words that belong to the selected one by the grammar of the prompt: its head and its dependents, to be added.

(function () {
    "use strict";

    const SHARED = (globalThis.attentionHeatmap = globalThis.attentionHeatmap || {});
    const LABELS = {head: "belongs to", dependent: "with it"};

    class Relatives {
        /** `chips`: all of the viewer; `onAdd(chip)` selects one more. */
        constructor(chips, onAdd) {
            this.chips = chips;
            this.onAdd = onAdd;
            this.element = SHARED.parts.make("p", "relatives");
            this.element.hidden = !chips.some((chip) => chip.relations?.length > 0); // its place is kept, so that nothing jumps
        }

        /** Of a single selected word; of anything else, and without a parser, nothing is shown. */
        showSelection(selection) {
            const chip = selection.groups.length === 1 && selection.groups[0].length === 1 ? selection.groups[0][0] : null;
            const found = relativesOf(chip, this.chips);
            this.element.replaceChildren(...found.flatMap(([role, related]) => this.build(role, related)));
        }

        build(role, related) {
            const {make, button} = SHARED.parts;
            const buttons = related.map(({chip, relation}) =>
                button("action", chip.text, `${relation}: select “${chip.text}” too`, () => this.onAdd(chip)));
            return [make("span", "relative-role", LABELS[role]), ...buttons];
        }
    }

    /** [[role, [{chip, relation}]]]: the head first; only words that have a map. */
    function relativesOf(chip, chips) {
        const related = (chip?.relations ?? []).map(({relation, role, span}) => {
            const isIt = (other) => other.side === chip.side && other.part === chip.part && other.span?.[0] === span[0];
            return {relation, role, chip: chips.find(isIt)};
        });
        return Object.keys(LABELS)
            .map((role) => [role, related.filter((each) => each.role === role && each.chip?.tiles.length > 0)])
            .filter(([, found]) => found.length > 0);
    }

    Object.assign(SHARED, {Relatives, relativesOf});
})();
