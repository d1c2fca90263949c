// Puts the viewer under the WebUI's gallery when a generation has heat maps. Does nothing, and asks nothing, otherwise.
(function () {
    "use strict";

    const ROUTE = "attention-heatmap/v1/results";
    const KEY = "Attention Heatmap result";
    const INPAINT_UPLOAD = 4; // its number among the tabs of img2img
    const shown = {};

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
        shown[tab] = {key};
        const answer = await fetch(`${ROUTE}/${encodeURIComponent(generation.id)}/viewer/${picture}`);
        if (!answer.ok || !shown[tab] || shown[tab].key !== key) {
            return;
        }
        const data = await answer.json();
        if (shown[tab] && shown[tab].key === key) {
            const pictureUrl = thumbnails(tab)[generation.first + picture]?.querySelector("img").src;
            shown[tab].viewer = globalThis.attentionHeatmap.viewer.mount(element, data, callbacks(tab, pictureUrl));
        }
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

    function callbacks(tab, picture) {
        return {
            onSendMask: (mask) => sendMask(picture, mask),
            onPromptChange: (prompt) => write(`#${tab}_prompt textarea`, prompt),
            onUseTerms: (terms) => write(`#${tab}_attention_heatmap_terms textarea, #${tab}_attention_heatmap_terms input`, terms),
        };
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

    if (typeof onAfterUiUpdate === "function") {
        onAfterUiUpdate(update);
    }
})();
