// The panel's "Fill from prompt": writes the words of the prompt into the field of terms.
(function () {
    function textOf(selector) {
        const box = gradioApp().querySelector(selector);
        return box ? box.value : "";
    }

    // Words without the syntax around them: brackets, weights, tags, schedules, AND and BREAK. A hint to pick from; the
    // server finds terms by its own parser.
    function wordsOf(prompt) {
        const plain = prompt
            .replace(/#.*$/gm, " ")
            .replace(/<[^<>]*>/g, " ")
            .replace(/\\([()[\]])/g, " ")
            .replace(/:\s*[+-]?[\d.]+\s*(?=[)\]]|$)/g, " ")
            .replace(/\b(AND|BREAK)\b/g, ",")
            .replace(/[()[\]|:]/g, " ");
        const words = plain.toLowerCase().split(/[\s,.;!?"]+/u).filter((word) => /[\p{L}\p{N}\p{S}]/u.test(word));
        return [...new Set(words)];
    }

    function fillTerms(tab) {
        const field = gradioApp().querySelector(`#${tab}_attention_heatmap_terms textarea, #${tab}_attention_heatmap_terms input`);
        if (!field) {
            return;
        }
        field.value = wordsOf(textOf(`#${tab}_prompt textarea`)).join(", ");
        updateInput(field);
    }

    globalThis.attentionHeatmapFillTerms = fillTerms;
    if (typeof module !== "undefined") {
        module.exports = {wordsOf};
    }
})();
