/* Use openapi-generator's TypeScript client: `node typescript_fetch.js URL IMAGE EMPTY`; print what it returned as JSON.
   `tests/client/test_generated.py` compiles it beside the generated sources. */

import { BatchEntry, Configuration, OperationsApi, PredictApi, ResponseError } from './index';

declare const process: { argv: string[]; exitCode: number };
declare const require: (name: string) => any;
const { readFileSync } = require('node:fs');

const [url, imagePath, emptyPath] = process.argv.slice(2);
const image = new Blob([readFileSync(imagePath)]);
const empty = new Blob([readFileSync(emptyPath)]);
const broken = new Blob(['no image']);
const text: string = readFileSync(imagePath).toString('base64');

const configuration = new Configuration({ basePath: url });
const predict = new PredictApi(configuration);
const operations = new OperationsApi(configuration);

async function codeOf(call: Promise<unknown>): Promise<string> {
    try {
        await call;
    } catch (error) {
        return (await (error as ResponseError).response.json()).code;
    }
    throw new Error('the call did not fail');
}

function entry(result: BatchEntry): string | null {
    return 'error' in result ? result.error.code : result.emotion;
}

async function main(): Promise<void> {
    const form = await predict.predictForm({ file: image });
    const face = form.faces[0];
    const nothing = await predict.predictForm({ file: empty });
    const doubtful = await predict.predictForm({ file: image, minConfidence: 1, coverage: 0.9 });
    const whole = await predict.predictForm({ file: image, detect: false });
    const files = await predict.predictBatchForm({ file: [image, broken] });
    const texts = await predict.predictBatch({ predictBatchBody: { images: [text, '%'] } });
    const returned = {
        form: [form.faces.length, form.emotion, face.box.width,
            JSON.stringify(form.scores) === JSON.stringify(face.scores)],
        json: (await predict.predict({ predictBody: { image: text, maxFaces: 1 } })).faces.length,
        query: (await predict.predictForm({ file: image, maxFaces: 1 })).faces.length,
        header: (await predict.predictForm({ file: image, priority: 'u=5', xRequestTimeoutMs: 60000 })).faces.length,
        nulls: [nothing.emotion, nothing.scores, whole.faces[0].detectionConfidence, face.landmarks],
        warnings: nothing.warnings,
        doubt: [doubtful.emotion, doubtful.faces[0].predictionSet?.[0] === form.emotion],
        batch_form: files.results.map(entry),
        batch_json: texts.results.map(entry),
        errors: [await codeOf(predict.predictForm({ file: broken })),
            await codeOf(predict.predict({ predictBody: { image: '%' } }))],
        metrics: (await operations.metrics()).includes('fer_requests_total{'),
        info: [(await operations.info()).name, (await operations.readyz()).status, (await operations.healthz()).status],
    };
    console.log(JSON.stringify(returned));
}

main().catch((error) => { console.error(error); process.exitCode = 1; });
