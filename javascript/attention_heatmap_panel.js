// The panel's "Fill from prompt": writes the words of the prompt into the field of terms.
(function () {
    "use strict";

    async function fillTerms(tab) {
        const box = gradioApp().querySelector(`#${tab}_prompt textarea`);
        const field = gradioApp().querySelector(`#${tab}_attention_heatmap_terms textarea, #${tab}_attention_heatmap_terms input`);
        if (!box || !field) {
            return;
        }
        const {terms} = await globalThis.attentionHeatmapReadPrompt(box.value);
        field.value = terms.join(", ");
        updateInput(field);
    }

    globalThis.attentionHeatmapFillTerms = fillTerms;
})();
