"""The pipeline: scores, deadlines, failed runs, options."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import numpy as np
import pytest

from app.contract.preprocess import crop_face
from app.contract.scores import probabilities
from app.domain import Detection, FaceBox, Point, PredictOptions
from app.engine.pipeline import Pipeline
from app.engine.scheduler import FairScheduler
from app.errors import ErrorCode, FerError
from app.inference.batcher import Batcher
from app.observability.metrics import Metrics
from tests.support.fakes import FakeClassifier, FakeDetector, make_manifest
from tests.support.images import encoded, picture

TEMPERATURE = 1.7


@asynccontextmanager
async def running_pipeline(classifier, detector=None, threads: int = 2, max_batch: int = 64):
    with ThreadPoolExecutor(threads) as vision, ThreadPoolExecutor(1) as inference:
        batcher = Batcher(classifier.classify, max_batch=max_batch, executor=inference)
        batcher.start()
        try:
            manifest = make_manifest(temperature=TEMPERATURE)
            scheduler = FairScheduler(vision, threads)
            yield Pipeline(detector or FakeDetector(), batcher, scheduler, Metrics(), 40_000_000, manifest)
        finally:
            classifier.released.set()
            await batcher.stop()


def deadline(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


def test_predict_returns_the_scores_of_each_box():
    async def scenario():
        classifier = FakeClassifier()
        image = picture(6, seed=3)
        async with running_pipeline(classifier) as pipeline:
            result = await pipeline.predict(encoded(image), PredictOptions(), deadline(5))
            for face in result.faces:
                logits = np.stack(FakeClassifier().classify([crop_face(image, face.box)]))
                (expected,) = probabilities(logits, TEMPERATURE)
                assert list(face.scores.values()) == expected.tolist()
                assert face.confidence == max(face.scores.values()) == face.scores[face.emotion]
            assert len({tuple(face.scores.values()) for face in result.faces}) == 6

    asyncio.run(scenario())


def test_predict_after_the_deadline_in_the_vision_queue_is_not_decoded():
    class SlowDetector:
        calls = 0

        def detect(self, grey):
            SlowDetector.calls += 1
            time.sleep(0.3)
            return []

    async def scenario():
        async with running_pipeline(FakeClassifier(), SlowDetector(), threads=1) as pipeline:
            first = asyncio.create_task(pipeline.predict(encoded(picture(0)), PredictOptions(), deadline(5)))
            await asyncio.sleep(0.02)
            with pytest.raises(FerError) as caught:
                await pipeline.predict(encoded(picture(0)), PredictOptions(), deadline(0.05))
            assert caught.value.code == ErrorCode.DEADLINE_EXCEEDED
            assert not first.done()  # the error is raised at the deadline, not when the thread is free
            await first
            await asyncio.sleep(0.05)
        assert SlowDetector.calls == 1

    asyncio.run(scenario())


def test_predict_removes_faces_from_the_queue_at_the_deadline():
    async def scenario():
        classifier = FakeClassifier()
        async with running_pipeline(classifier) as pipeline:
            classifier.released.clear()
            blocked = asyncio.create_task(pipeline.predict(encoded(picture(1)), PredictOptions(), deadline(5)))
            await asyncio.sleep(0.05)
            with pytest.raises(FerError):
                await pipeline.predict(encoded(picture(12)), PredictOptions(), deadline(0.1))
            classifier.released.set()
            await blocked
        assert classifier.batches == [1]

    asyncio.run(scenario())


def test_predict_cancels_the_other_faces_after_one_failed():
    async def scenario():
        classifier = FakeClassifier()
        classifier.poison = 7
        image = picture(12)
        image[:40, :40][image[:40, :40] < 250] = 7  # the first face
        async with running_pipeline(classifier, max_batch=1) as pipeline:
            with pytest.raises(RuntimeError, match="poisoned"):
                await pipeline.predict(encoded(image), PredictOptions(), deadline(5))
            await asyncio.sleep(0.1)  # the batcher would run the other faces
        assert len(classifier.batches) < 6  # of 12; a batch may run before the event loop cancels the others

    asyncio.run(scenario())


def test_predict_with_a_stopped_batcher_is_not_ready():
    async def scenario():
        async with running_pipeline(FakeClassifier()) as pipeline:
            await pipeline._batcher.stop()
            with pytest.raises(FerError) as caught:
                await pipeline.predict(encoded(picture(1)), PredictOptions(), deadline(5))
            assert caught.value.code == ErrorCode.NOT_READY

    asyncio.run(scenario())


def test_predict_min_face_size_uses_the_smaller_side():
    class OblongDetector:
        def detect(self, grey):
            return [Detection(FaceBox(0, 0, 50, 30), 1.0), Detection(FaceBox(0, 0, 30, 30), 1.0)]

    async def scenario():
        async with running_pipeline(FakeClassifier(), OblongDetector()) as pipeline:
            result = await pipeline.predict(encoded(picture(0)), PredictOptions(min_face_size_px=31), deadline(5))
            assert result.faces == ()
            assert result.warnings == ("no_face_detected",)

    asyncio.run(scenario())


@pytest.mark.parametrize(("roll", "turned_back"), [(-20.0, -20.0), (14.9, 0.0), (15.0, 15.0)])
def test_predict_crops_along_a_large_roll_and_returns_roll_and_landmarks(roll, turned_back):
    box, landmarks = FaceBox(0, 0, 40, 40), tuple(Point(x, 20.0) for x in (5.0, 15.0, 20.0, 25.0, 35.0))

    class RollDetector:
        def detect(self, grey):
            return [Detection(box, 1.0, roll, landmarks)]

    async def scenario():
        image = picture(1, seed=3)
        async with running_pipeline(FakeClassifier(), RollDetector()) as pipeline:
            (face,) = (await pipeline.predict(encoded(image), PredictOptions(), deadline(5))).faces
        (expected,) = probabilities(
            np.stack(FakeClassifier().classify([crop_face(image, box, turned_back)])), TEMPERATURE
        )
        assert list(face.scores.values()) == expected.tolist()
        assert (face.roll_degrees, face.landmarks) == (roll, landmarks)

    asyncio.run(scenario())


def test_logits_are_the_output_of_the_model_in_the_order_of_the_crops():
    async def scenario():
        crops = np.random.default_rng(0).integers(0, 256, size=(5, 48, 48, 1), dtype=np.uint8)
        async with running_pipeline(FakeClassifier(), max_batch=2) as pipeline:
            logits = await pipeline.logits(crops, deadline(5))
        assert logits.dtype == np.float32
        assert np.array_equal(logits, np.stack(FakeClassifier().classify(list(crops))))

    asyncio.run(scenario())


def test_logits_after_the_deadline_are_deadline_exceeded():
    async def scenario():
        classifier = FakeClassifier()
        classifier.released.clear()
        async with running_pipeline(classifier) as pipeline:
            with pytest.raises(FerError) as caught:
                await pipeline.logits(np.zeros((1, 48, 48, 1), np.uint8), deadline(0.05))
            assert caught.value.code == ErrorCode.DEADLINE_EXCEEDED

    asyncio.run(scenario())


def test_predict_gives_a_detector_that_uses_colour_a_reduced_colour_image():
    received = []

    class RedDetector(FakeDetector):
        colour_pixels = 64 * 48

        def detect(self, grey, colour=None):
            received.append((grey.shape, None if colour is None else (colour.shape, colour[0, 0].tolist())))
            return []

        def track(self, grey, known, colour=None):
            return self.detect(grey, colour)

    async def scenario():
        red = np.zeros((96, 128, 3), np.uint8)
        red[..., 0] = 200
        async with running_pipeline(FakeClassifier(), RedDetector()) as pipeline:
            for known in (None, ()):
                await pipeline.predict(encoded(red), PredictOptions(), deadline(5), known)
            await pipeline.predict(encoded(picture(0)), PredictOptions(), deadline(5))
        assert received[:2] == [((96, 128), ((48, 64, 3), [200, 0, 0]))] * 2
        assert received[2:] == [((120, 160), None)]

    asyncio.run(scenario())
