// Puts the viewer under the WebUI's gallery when a generation has heat maps, and fills the panel's terms from the prompt
// when its button is pressed. Does nothing, and asks nothing, otherwise.
(function () {
    "use strict";

    const ROUTE = "attention-heatmap/v1/results";
    const FRAMES = "attention-heatmap/v1/frames";
    const KEY = "Attention Heatmap result";
    const INPAINT_UPLOAD = 4; // its number among the tabs of img2img
    const termsField = (tab) => `#${tab}_attention_heatmap_terms textarea, #${tab}_attention_heatmap_terms input`;
    const shown = {}; // by tab: the generation that is shown under the gallery
    const earlier = {}; // by tab: the viewer of an earlier picture in the panel

    function find(selector) {
        return gradioApp().querySelector(selector);
    }

    /** What the WebUI's hidden box says of the last generation: the id of its heat maps, and where the pictures begin. */
    function lastGeneration(tab) {
        const box = find(`#generation_info_${tab} textarea`);
        try {
            const info = JSON.parse(box.value);
            const id = (info.extra_generation_params || {})[KEY];
            return id ? {id, first: info.index_of_first_image, count: info.all_prompts.length} : null;
        } catch {
            return null;
        }
    }

    function thumbnails(tab) {
        const strip = gradioApp().querySelectorAll(`#${tab}_gallery .thumbnails > .thumbnail-item`);
        return strip.length > 0 ? [...strip] : [...gradioApp().querySelectorAll(`#${tab}_gallery .thumbnail-item`)];
    }

    /** Number of the generated picture that the gallery shows; the first where it shows a grid or all of them. */
    function chosenPicture(tab, generation) {
        const selected = thumbnails(tab).findIndex((each) => each.classList.contains("selected"));
        const number = selected - generation.first;
        return number >= 0 && number < generation.count ? number : 0;
    }

    function place(tab) {
        let element = find(`#${tab}_attention_heatmap_result`);
        if (!element) {
            const results = find(`#${tab}_results`);
            if (!results) {
                return null;
            }
            element = document.createElement("div");
            element.id = `${tab}_attention_heatmap_result`;
            results.append(element);
        }
        return element;
    }

    async function show(tab, generation, picture) {
        const key = `${generation.id} ${picture}`;
        if (shown[tab] && shown[tab].key === key) {
            return;
        }
        const element = place(tab);
        if (!element) {
            return;
        }
        hide(tab);
        const entry = (shown[tab] = {key});
        const data = await viewerData(generation.id, picture);
        if (data && shown[tab] === entry) {
            const pictureUrl = thumbnails(tab)[generation.first + picture]?.querySelector("img").src;
            entry.viewer = globalThis.attentionHeatmap.viewer.mount(element, data, callbacks(tab, generation.id, pictureUrl));
        }
    }

    /** Null where the server knows the generation no more. */
    async function viewerData(id, picture) {
        const answer = await fetch(`${ROUTE}/${encodeURIComponent(id)}/viewer/${picture}`);
        return answer.ok ? answer.json() : null;
    }

    function hide(tab) {
        if (shown[tab] && shown[tab].viewer) {
            shown[tab].viewer.destroy();
        }
        delete shown[tab];
    }

    function write(selector, text) {
        const box = find(selector);
        if (box) {
            box.value = text;
            updateInput(box);
        }
    }

    async function asFile(url, name) {
        const blob = await (await fetch(url)).blob();
        return new File([blob], name, {type: blob.type});
    }

    /** Opens "Inpaint upload" with the picture and the mask. */
    async function sendMask(picture, mask) {
        const files = {img_inpaint_base: await asFile(picture, "picture.png"), img_inpaint_mask: await asFile(mask, "mask.png")};
        switch_to_img2img_tab(INPAINT_UPLOAD);
        for (const [id, file] of Object.entries(files)) {
            const list = new DataTransfer();
            list.items.add(file);
            dropReplaceImage(find(`#${id}`), list.files);
        }
    }

    /** The words of a typed prompt: how they can be edited, and the terms for them. */
    async function readPrompt(prompt) {
        const body = JSON.stringify({prompt});
        const answer = await fetch(FRAMES, {method: "POST", headers: {"Content-Type": "application/json"}, body});
        if (!answer.ok) {
            throw new Error(`the prompt was not read: ${answer.status}`);
        }
        return answer.json();
    }

    /** The panel's "Fill from prompt". */
    async function fillTerms(tab) {
        const {terms} = await readPrompt(find(`#${tab}_prompt textarea`).value);
        write(termsField(tab), terms.join(", "));
    }

    /** Viewers read the prompt when the user leaves its box, so that their buttons need not wait. */
    function watchPrompt(tab) {
        const box = find(`#${tab}_prompt textarea`);
        if (!box.dataset.attentionHeatmap) {
            box.dataset.attentionHeatmap = "watched";
            box.addEventListener("change", () => [shown[tab]?.viewer, earlier[tab]].forEach((viewer) => viewer?.readPage()));
        }
    }

    function callbacks(tab, id, picture) {
        watchPrompt(tab);
        return {
            freshFrames: async (prompt) => (await readPrompt(prompt)).frames,
            readPrompt: () => find(`#${tab}_prompt textarea`).value,
            onPromptChange: (prompt) => write(`#${tab}_prompt textarea`, prompt),
            onUseTerms: (terms) => write(termsField(tab), terms),
            onSendMask: (mask) => sendMask(picture, mask),
            onSaveReport: () => globalThis.attentionHeatmap.viewer.save(`${ROUTE}/${encodeURIComponent(id)}/report`, "report.html"),
        };
    }

    /** Shows the maps of an earlier picture in the panel; an empty id takes them away. Called by the panel itself. */
    async function showEarlier(tab, id) {
        const element = find(`#${tab}_attention_heatmap_earlier_viewer`);
        earlier[tab]?.destroy();
        delete earlier[tab];
        const data = id && (await viewerData(id, 0));
        if (data) {
            earlier[tab] = globalThis.attentionHeatmap.viewer.mount(element, data, callbacks(tab, id, data.picture));
        }
    }

    function update() {
        for (const tab of ["txt2img", "img2img"]) {
            const generation = lastGeneration(tab);
            if (generation) {
                show(tab, generation, chosenPicture(tab, generation));
            } else if (shown[tab]) {
                hide(tab);
            }
        }
    }

    globalThis.attentionHeatmapShowEarlier = showEarlier;
    globalThis.attentionHeatmapFillTerms = fillTerms;
    if (typeof onAfterUiUpdate === "function") {
        onAfterUiUpdate(update);
    }
})();
