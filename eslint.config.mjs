// The pages' scripts run in a browser, their tests on Node.
const BROWSER = [
    "Blob", "Event", "Image", "ImageData", "URL", "atob", "clearInterval", "clearTimeout", "setInterval", "setTimeout", "cancelAnimationFrame", "document", "fetch", "getComputedStyle", "navigator", "requestAnimationFrame",
    "DataTransfer", "File", "ResizeObserver", "dropReplaceImage", "gradioApp", "switch_to_img2img_tab", "onAfterUiUpdate", "updateInput",
];
const NODE = ["__dirname", "module", "performance", "process", "require"];

export default [
    {
        files: ["javascript/*.js", "tests/javascript/*.js"],
        languageOptions: {
            ecmaVersion: 2022,
            sourceType: "script",
            globals: Object.fromEntries([...BROWSER, ...NODE].map((name) => [name, "readonly"])),
        },
        rules: {
            "eqeqeq": "error", "no-undef": "error", "no-unused-vars": "error", "no-var": "error", "prefer-const": "error",
            "no-implicit-globals": "error",
            "no-shadow": "error", "no-unreachable": "error", "no-dupe-keys": "error",
            "no-eval": "error", "no-implied-eval": "error",
            "no-restricted-properties": ["error", {property: "innerHTML", message: "prompts go through textContent"}],
        },
    },
    {files: ["tests/javascript/*.js"], rules: {"no-implicit-globals": "off"}},
];
